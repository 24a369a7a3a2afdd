import { z } from 'zod';
import { type RestoreStep, restoreModeSchema } from '#core/agent-protocol.ts';
import { backupIdSchema, runIdSchema } from '#core/ids.ts';
import { sha256Schema } from '#core/manifest.ts';

/**
 * How far a step is, on this disk.
 *
 * `fetching` and `preparing` are the two states a crash can leave half done: what they left is never continued. Percona's manual says of
 * an interrupted prepare that the data files may be corrupt (prepare-full-backup), and a killed mariadb-backup has already moved files
 * between its two directories.
 */
const stepStates = ['pending', 'fetching', 'extracted', 'preparing', 'prepared'] as const;
export type StepState = (typeof stepStates)[number];

const journalStepSchema = z.object({
  backup: backupIdSchema,
  manifestSha256: sha256Schema,
  state: z.enum(stepStates),
  /** It was prepared as the last one: XtraBackup then rolled back what was uncommitted, and nothing more can be applied. */
  closed: z.boolean(),
});
export type JournalStep = Readonly<z.infer<typeof journalStepSchema>>;

/**
 * A hand-over that has begun. Where it is now is read from the disk (`swapPosition`), because no write to a journal can be atomic with a
 * rename; the journal says where it is going.
 */
const swapSchema = z.object({
  mode: restoreModeSchema,
  direction: z.enum(['in', 'out']),
  /** Where the old data directory goes; absent where there was none. */
  aside: z.string().optional(),
  /** Whether a server ran before: then one runs again when the old directory is back. */
  serverRan: z.boolean(),
});
export type Swap = Readonly<z.infer<typeof swapSchema>>;

/** What a restore has done so far, kept in its staging directory so that the next run continues instead of starting over. */
export const restoreJournalSchema = z.object({
  format: z.literal('redoubt-restore-journal'),
  version: z.literal(1),
  /** The run that wrote last. */
  run: runIdSchema,
  directory: z.string(),
  steps: z.array(journalStepSchema).min(1).readonly(),
  swap: swapSchema.optional(),
});
export type RestoreJournal = Readonly<z.infer<typeof restoreJournalSchema>>;

type WantedStep = Pick<RestoreStep, 'backup' | 'manifestSha256'>;

const pending = ({ backup, manifestSha256 }: WantedStep): JournalStep => ({
  backup,
  manifestSha256,
  state: 'pending',
  closed: false,
});

/** The journal of a restore that has nothing on disk. */
export const newJournal = (
  run: RestoreJournal['run'],
  directory: string,
  steps: readonly WantedStep[],
): RestoreJournal => ({
  format: 'redoubt-restore-journal',
  version: 1,
  run,
  directory,
  steps: steps.map(pending),
});

export type StepEvent =
  | { readonly kind: 'fetch'; readonly step: number }
  | { readonly kind: 'extracted'; readonly step: number }
  | { readonly kind: 'prepare'; readonly step: number; readonly last: boolean }
  | { readonly kind: 'prepared'; readonly step: number };

const TRANSITIONS = {
  fetch: { from: 'pending', to: 'fetching' },
  extracted: { from: 'fetching', to: 'extracted' },
  prepare: { from: 'extracted', to: 'preparing' },
  prepared: { from: 'preparing', to: 'prepared' },
} as const satisfies Record<StepEvent['kind'], { from: StepState; to: StepState }>;

/** The journal after `event`. Throws `TypeError` for a transition that is not legal: that is a defect, never a state of the world. */
export const advance = (journal: RestoreJournal, event: StepEvent): RestoreJournal => {
  const step = journal.steps[event.step];
  const { from, to } = TRANSITIONS[event.kind];
  if (step?.state !== from)
    throw new TypeError(`step ${event.step} cannot be ${to}: it is ${step?.state}, not ${from}`);
  // Only one step may change the base at a time, and only in order.
  if (event.kind === 'prepare' && journal.steps.slice(0, event.step).some(({ state }) => state !== 'prepared'))
    throw new TypeError(`step ${event.step} cannot be prepared before those in front of it`);
  if (journal.swap) throw new TypeError(`step ${event.step} cannot change: the hand-over has begun`);
  const closed = event.kind === 'prepare' ? event.last : step.closed;
  return { ...journal, steps: journal.steps.with(event.step, { ...step, state: to, closed }) };
};

/** The hand-over begins. Throws `TypeError` unless every step is prepared. */
export const beginSwap = (
  journal: RestoreJournal,
  { mode, aside, serverRan }: Pick<Swap, 'mode' | 'serverRan'> & { readonly aside: string | undefined },
): RestoreJournal => {
  if (journal.steps.some(({ state }) => state !== 'prepared'))
    throw new TypeError('nothing may be handed over before every step is prepared');
  return { ...journal, swap: { mode, direction: 'in', serverRan, ...(aside === undefined ? {} : { aside }) } };
};

/**
 * The hand-over is taken back. A server has run on the new directory, so it is no longer what the steps made of it: they start over.
 * Throws `TypeError` where there is no old directory to put back.
 */
export const reverseSwap = (journal: RestoreJournal): RestoreJournal => {
  if (journal.swap?.aside === undefined) throw new TypeError('there is no old directory to put back');
  return { ...journal, steps: journal.steps.map(pending), swap: { ...journal.swap, direction: 'out' } };
};

export interface SwapFacts {
  /** Which of the three directories exist. */
  readonly directory: boolean;
  readonly aside: boolean;
  readonly staged: boolean;
}

export type SwapPosition = 'before' | 'between' | 'after' | 'unknown';

/**
 * Where a hand-over is. Every legal order of its renames passes through these states only, each one recognisable. An old directory that
 * was aside and is gone was removed by somebody after it was over, and the staged one by the clean-up after a hand-over taken back.
 */
export const swapPosition = (swap: Swap, { directory, aside, staged }: SwapFacts): SwapPosition => {
  if (swap.aside === undefined) {
    if (staged && !directory) return 'before';
    return directory && !staged ? 'after' : 'unknown';
  }
  if (directory && !staged && !aside) return swap.direction === 'in' ? 'after' : 'before';
  if (directory && !aside) return 'before';
  if (!directory && aside && staged) return 'between';
  return directory && aside && !staged ? 'after' : 'unknown';
};

export type SwapMove = 'old-aside' | 'new-in' | 'new-out' | 'old-back' | 'done';

/** The one rename that comes next, or `done`. */
export const nextMove = (swap: Swap, position: Exclude<SwapPosition, 'unknown'>): SwapMove => {
  if (swap.direction === 'in') {
    if (position === 'before') return swap.aside === undefined ? 'new-in' : 'old-aside';
    return position === 'between' ? 'new-in' : 'done';
  }
  if (position === 'after') return 'new-out';
  return position === 'between' ? 'old-back' : 'done';
};

export interface Resumption {
  readonly journal: RestoreJournal;
  /** Steps whose directories go before anything else is done; 0 is the base. */
  readonly discard: readonly number[];
}

/**
 * What a new run may use of what an earlier one left for `wanted`. Kept are: the base with the increments already in it, if exactly these
 * come first in `wanted`; and increments that were extracted and verified but not yet applied. Everything half done goes.
 * Call it only while no hand-over is under way.
 */
export const resume = (left: RestoreJournal, run: RestoreJournal['run'], wanted: readonly WantedStep[]): Resumption => {
  const isWanted = (step: JournalStep, index: number): boolean =>
    wanted[index]?.backup === step.backup && wanted[index].manifestSha256 === step.manifestSha256;
  const applied = left.steps.findLastIndex(({ state }) => state === 'prepared' || state === 'preparing') + 1;
  const inBase = left.steps.slice(0, Math.max(applied, 1));
  const baseUsable =
    inBase.every(isWanted) &&
    !inBase.some(({ state }) => state === 'preparing' || state === 'fetching') &&
    // A closed base takes no further increment.
    (wanted.length === applied || !inBase.some(({ closed }) => closed));
  const steps = wanted.map((step, index): JournalStep => {
    const was = left.steps[index];
    if (was === undefined || !isWanted(was, index)) return pending(step);
    // What was applied is in the base: it stands or falls with it. A base that is only extracted is its own step.
    if (index < inBase.length) return baseUsable ? was : pending(step);
    return was.state === 'extracted' ? was : pending(step);
  });
  const discard = Array.from({ length: Math.max(left.steps.length, wanted.length) }, (_, index) => index).filter(
    (index) => steps[index] === undefined || steps[index].state === 'pending',
  );
  return { journal: { ...newJournal(run, left.directory, wanted), steps }, discard };
};

/** Whether a hand-over that `left` names is the one of `wanted`: every step of it, and no other. */
export const isSameRestore = (left: RestoreJournal, wanted: readonly WantedStep[]): boolean =>
  left.steps.length === wanted.length &&
  left.steps.every(
    (step, index) => wanted[index]?.backup === step.backup && wanted[index].manifestSha256 === step.manifestSha256,
  );
