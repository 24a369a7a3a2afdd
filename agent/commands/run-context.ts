import type { Phase } from '#agent/control/progress.ts';
import type { OpenKey } from '#agent/keys/open-data-key.ts';
import type { Repository } from '#agent/repository/repository.ts';

/** Numbers for people: what the run's progress object and its last answer are made of. Cheap to call often. */
export interface ProgressReporter {
  phase(phase: Phase): void;
  /** Which backup of the chain a restore is at, from 1. */
  step(step: number, steps: number): void;
  /** Adds to what was done so far. */
  add(bytes: number, files: number): void;
  /** How many bytes there will be, where that becomes known. */
  expect(bytes: number): void;
  /** Seconds spent in each phase so far. */
  seconds(): Readonly<Partial<Record<Phase, number>>>;
}

/** Short lines for people, on stdout: Systems Manager keeps 24,000 characters of them. Never a secret. */
export type Log = (line: string) => void;

/** What a command works with, whichever it is. */
export interface RunContext {
  readonly repository: Repository;
  /** Opens the chain's keys with the run's grant. Whoever opens a key destroys it. */
  readonly openKey: OpenKey;
  /** Aborted when the run must stop at once; its reason is the error to end with (`RunCancelled`). */
  readonly signal: AbortSignal;
  readonly progress: ProgressReporter;
  readonly log: Log;
  readonly now: () => Date;
  readonly agentVersion: string;
}
