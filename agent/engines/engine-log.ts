import { type LogFinding, screenLine } from './log-lines.ts';

const HEAD = 40;
const TAIL = 80;
const FLAGGED = 200;
const LONGEST_LINE = 4000;

/**
 * What is kept in memory of an engine's standard error: the beginning, the end and every line that means something. Its size is
 * bounded whatever the engine prints; the whole text is spooled elsewhere.
 */
export class EngineLog {
  readonly #head: string[] = [];
  readonly #tail: string[] = [];
  readonly #findings: LogFinding[] = [];
  #lines = 0;
  #bytes = 0;
  #lastLine = '';

  append(line: string): void {
    const kept = line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE)}…` : line;
    this.#lines += 1;
    this.#bytes += Buffer.byteLength(line) + 1;
    if (kept.trim() !== '') this.#lastLine = kept;
    if (this.#head.length < HEAD) this.#head.push(kept);
    else {
      this.#tail.push(kept);
      if (this.#tail.length > TAIL) this.#tail.shift();
    }
    const finding = screenLine(line);
    // The first ones name the cause; a flood of the same kind must not fill the memory.
    if (finding && this.#findings.length < FLAGGED) this.#findings.push({ ...finding, line: kept });
  }

  /** Lines seen, blank ones included. */
  get lines(): number {
    return this.#lines;
  }

  /** Bytes seen. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The last line that is not blank; empty where there was none. */
  get lastLine(): string {
    return this.#lastLine;
  }

  /** Every line that means something, in order; of a flood, the first ones. */
  get findings(): readonly LogFinding[] {
    return this.#findings;
  }

  /** The last `count` lines of the log, blank ones left out: what an operator is shown. */
  lastLines(count: number): readonly string[] {
    return [...this.#head, ...this.#tail].filter((line) => line.trim() !== '').slice(-count);
  }
}
