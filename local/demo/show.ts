import { formatDuration } from '#cli/show/format-duration.ts';
import type { Terminal } from '#cli/terminal.ts';

/** How the demo tells what it does. */
export interface Show {
  /** A new part of the story. */
  chapter(text: string): void;
  /** Something worth knowing. */
  line(text: string): void;
  /** What an operator types. */
  command(text: string): void;
  /** Does `work` with a live line about it, and leaves one that says how long it took. */
  during<Result>(text: string, work: (progress: (detail: string) => void) => Promise<Result>): Promise<Result>;
  /** For commands that write by themselves. */
  readonly terminal: Terminal;
}

const spinner = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'] as const;

/** Writes to a terminal, live where it is one. */
export const showOn = (terminal: Terminal): Show => {
  const bold = (text: string): string => (terminal.isTty ? `\u001b[1m${text}\u001b[22m` : text);
  const indented: Terminal = {
    ...terminal,
    out: (text) => terminal.out(text.replaceAll(/^(?=.)/gm, '  ')),
    err: (text) => terminal.err(text.replaceAll(/^(?=.)/gm, '  ')),
    status: (line) => terminal.status(line === '' ? '' : `  ${line}`),
  };
  return {
    terminal: indented,
    chapter: (text) => terminal.out(`\n${bold(text)}`),
    line: (text) => indented.out(text),
    command: (text) => terminal.out(`\n  ${bold(`$ ${text}`)}`),
    during: async (text, work) => {
      const startedAt = performance.now();
      const elapsed = (): string => formatDuration((performance.now() - startedAt) / 1000);
      let detail = '';
      let turn = 0;
      const look = (): void => {
        turn += 1;
        const shown = `${spinner[turn % spinner.length]} ${text}  ${detail}  ${elapsed()}`;
        indented.status(shown.slice(0, terminal.columns - 3));
      };
      const timer = terminal.isTty ? setInterval(look, 100) : undefined;
      try {
        const result = await work((now) => {
          detail = now;
        });
        if (terminal.isTty) indented.status('');
        indented.out(`✓ ${text}  ${elapsed()}`);
        return result;
      } finally {
        clearInterval(timer);
        if (terminal.isTty) indented.status('');
      }
    },
  };
};
