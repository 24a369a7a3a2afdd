import type { RunState } from './catalog-records.ts';

interface Transition {
  readonly from: readonly RunState[];
  readonly to: RunState;
}

/**
 * Each change of a run names the states it may start from; the catalog compiles it to the condition of one write. A run that
 * has ended stays as it ended: whoever comes second is told so and changes nothing.
 */
export const runTransitions = {
  /** `asked` again: a run that falls back to a full asks its host twice. */
  ask: { from: ['planned', 'asked'], to: 'asked' },
  replan: { from: ['planned', 'asked'], to: 'planned' },
  succeed: { from: ['asked'], to: 'succeeded' },
  fail: { from: ['planned', 'asked'], to: 'failed' },
  abort: { from: ['planned', 'asked'], to: 'aborted' },
} as const satisfies Record<string, Transition>;

export type RunTransition = keyof typeof runTransitions;

export const isEnded = (state: RunState): boolean =>
  !Object.values(runTransitions).some((transition: Transition) => transition.from.includes(state));
