import type { EngineOperation } from './engine.ts';
import { type LogFinding, screenLine, withoutSecrets } from './log-lines.ts';

const HEAD = 40;
const TAIL = 80;
const EACH_KIND = 5;
const LONGEST_LINE = 4000;

/**
 * What is kept in memory of an engine's standard error: the beginning, the end and the lines that mean something. Its size is
 * bounded whatever the engine prints; the whole text is spooled elsewhere. No secret is kept.
 */
export class EngineLog {
  readonly #head: string[] = [];
  readonly #tail: string[] = [];
  // A log does not know which operation it is of; the same line may mean different things.
  readonly #findings: Readonly<Record<EngineOperation, LogFinding[]>> = {
    backup: [],
    prepare: [],
    decrypt: [],
    rekey: [],
  };
  #lines = 0;
  #lastLine = '';

  append(line: string): void {
    const clean = withoutSecrets(line);
    const kept = clean.length > LONGEST_LINE ? `${clean.slice(0, LONGEST_LINE)}…` : clean;
    this.#lines += 1;
    if (kept.trim() !== '') this.#lastLine = kept;
    if (this.#head.length < HEAD) this.#head.push(kept);
    else {
      this.#tail.push(kept);
      if (this.#tail.length > TAIL) this.#tail.shift();
    }
    for (const operation of ['backup', 'prepare', 'decrypt', 'rekey'] as const) {
      const findings = this.#findings[operation];
      const finding = screenLine(operation, line);
      // The first ones name the cause; a flood of one kind neither fills the memory nor hides another kind.
      if (finding && findings.filter(({ rank }) => rank === finding.rank).length < EACH_KIND)
        findings.push({ ...finding, line: kept });
    }
  }

  /** Lines seen, blank ones included. */
  get lines(): number {
    return this.#lines;
  }

  /** The last line that is not blank; empty where there was none. */
  get lastLine(): string {
    return this.#lastLine;
  }

  /** Lines that mean something in this operation, in order of appearance, a few of each kind. */
  findings(operation: EngineOperation): readonly LogFinding[] {
    return this.#findings[operation];
  }

  /** The last `count` lines that are not blank: what an operator is shown. */
  lastLines(count: number): readonly string[] {
    return [...this.#head, ...this.#tail].filter((line) => line.trim() !== '').slice(-count);
  }
}
