import { setTimeout as sleep } from 'node:timers/promises';
import type { Progress } from '#core/agent-protocol.ts';
import type { ProgressReporter } from '../commands/run-context.ts';
import type { Repository } from '../repository/repository.ts';

export type Phase = Progress['phase'];

export interface ProgressOptions {
  readonly repository: Pick<Repository, 'overwrite'>;
  readonly key: string;
  readonly run: Progress['run'];
  readonly cluster: Progress['cluster'];
  readonly kind: Progress['kind'];
  readonly expectedBytes: number;
  readonly now: () => Date;
  readonly intervalMs?: number;
}

const INTERVAL_MS = 3_000;

/**
 * Counts, and writes the counts every few seconds to the run's progress key. Progress is for people: a write that fails is
 * tried again with the next, never an error of the run.
 */
export class ProgressWriter implements ProgressReporter {
  readonly #options: ProgressOptions;
  readonly #startedAt: Date;
  readonly #stopped = new AbortController();
  readonly #seconds = new Map<Phase, number>();
  #phase: Phase = 'starting';
  #phaseAt = performance.now();
  #step: { readonly step: number; readonly steps: number } | undefined;
  #bytes = 0;
  #files = 0;
  #expected: number;
  #writing: Promise<void>;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#startedAt = options.now();
    this.#expected = options.expectedBytes;
    this.#writing = this.#keepWriting();
  }

  phase(phase: Phase): void {
    this.#closePhase();
    this.#phase = phase;
  }

  step(step: number, steps: number): void {
    this.#step = { step, steps };
  }

  add(bytes: number, files: number): void {
    this.#bytes += bytes;
    this.#files += files;
  }

  expect(bytes: number): void {
    this.#expected = bytes;
  }

  seconds(): Readonly<Partial<Record<Phase, number>>> {
    this.#closePhase();
    return Object.fromEntries([...this.#seconds].map(([phase, seconds]) => [phase, Math.round(seconds * 10) / 10]));
  }

  /** Writes `ended` and stops. Never throws. */
  async end(): Promise<void> {
    this.phase('ended');
    this.#stopped.abort();
    await this.#writing;
    await this.#write();
  }

  #closePhase(): void {
    const now = performance.now();
    this.#seconds.set(this.#phase, (this.#seconds.get(this.#phase) ?? 0) + (now - this.#phaseAt) / 1000);
    this.#phaseAt = now;
  }

  async #keepWriting(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      await this.#write();
      await sleep(this.#options.intervalMs ?? INTERVAL_MS, undefined, { signal: this.#stopped.signal }).catch(
        () => undefined,
      );
    }
  }

  async #write(): Promise<void> {
    const { repository, key, run, cluster, kind, now } = this.#options;
    const progress: Progress = {
      run,
      cluster,
      kind,
      phase: this.#phase,
      ...this.#step,
      bytes: this.#bytes,
      expectedBytes: this.#expected,
      files: this.#files,
      startedAt: this.#startedAt.toISOString(),
      at: now().toISOString(),
    };
    await repository.overwrite(key, Buffer.from(JSON.stringify(progress))).catch(() => undefined);
  }
}
