import { describe, expect, it } from 'vitest';
import { runStates } from '#core/catalog-records.ts';
import { isEnded, type RunTransition, runTransitions } from '#core/run-transitions.ts';

const transitions = Object.entries(runTransitions) as [RunTransition, { from: readonly string[]; to: string }][];

describe('the states of a run', () => {
  it('are all reachable from its plan', () => {
    const reached = new Set<string>(['planned']);
    for (const _ of runStates)
      for (const [, { from, to }] of transitions) if (from.some((state) => reached.has(state))) reached.add(to);
    expect([...reached].sort()).toEqual([...runStates].sort());
  });

  it('lead nowhere once the run has ended', () => {
    for (const state of runStates)
      expect(isEnded(state)).toBe(!transitions.some(([, { from }]) => from.includes(state)));
    expect(runStates.filter(isEnded)).toEqual(['succeeded', 'failed', 'aborted']);
  });

  it('let every run that has not ended fail and be aborted', () => {
    for (const state of runStates.filter((each) => !isEnded(each))) {
      expect(runTransitions.fail.from).toContain(state);
      expect(runTransitions.abort.from).toContain(state);
    }
  });

  it('let a run succeed only after its host was asked', () => {
    expect(runTransitions.succeed.from).toEqual(['asked']);
  });
});
