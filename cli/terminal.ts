/** Where a command writes to: results on `out`, everything about them on `err`. */
export interface Terminal {
  readonly isTty: boolean;
  readonly columns: number;
  /** A finished text of one or more lines, without the last line end. */
  out(text: string): void;
  err(text: string): void;
  /** One line that the next status replaces; the empty one clears it. Only called on a TTY. */
  status(line: string): void;
}

/** The process's own terminal; progress goes to stderr, so stderr decides whether it is live. */
export const processTerminal = (): Terminal => ({
  isTty: process.stderr.isTTY === true,
  columns: process.stderr.columns ?? 120,
  out: (text) => void process.stdout.write(`${text}\n`),
  err: (text) => void process.stderr.write(`${text}\n`),
  status: (line) => void process.stderr.write(`\r\u001b[2K${line}`),
});
