import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  advance,
  beginSwap,
  isSameRestore,
  newJournal,
  nextMove,
  type RestoreJournal,
  resume,
  reverseSwap,
  type StepEvent,
  type StepState,
  type Swap,
  type SwapFacts,
  swapPosition,
} from '#agent/restore/journal.ts';
import { backupIdSchema, runIdSchema } from '#core/ids.ts';

const run = runIdSchema.parse('run');
const stepOf = (index: number, digest = String(index)) => ({
  backup: backupIdSchema.parse(
    `20261122T06${String(index).padStart(2, '0')}00Z-${index === 0 ? 'f0000' : `i000${index}`}-3f9a1c`,
  ),
  manifestSha256: digest.padStart(64, '0'),
});
const steps = [stepOf(0), stepOf(1), stepOf(2)];
const withStates = (states: readonly StepState[], closed = false): RestoreJournal => {
  const journal = newJournal(run, '/d', steps.slice(0, states.length));
  return {
    ...journal,
    steps: journal.steps.map((step, index) => ({
      ...step,
      state: states[index] as StepState,
      closed: closed && index === states.length - 1,
    })),
  };
};
const statesOf = (journal: RestoreJournal): readonly StepState[] => journal.steps.map(({ state }) => state);

describe('a step', () => {
  it('is fetched, extracted, prepared, in this order only', () => {
    const kinds: readonly StepEvent['kind'][] = ['fetch', 'extracted', 'prepare', 'prepared'];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...kinds), { maxLength: 8 }), (events) => {
        let journal = newJournal(run, '/d', [stepOf(0)]);
        let done = 0;
        for (const kind of events) {
          const event = { kind, step: 0, last: true } as StepEvent;
          if (kind === kinds[done]) {
            journal = advance(journal, event);
            done++;
          } else expect(() => advance(journal, event)).toThrow(TypeError);
        }
      }),
    );
  });

  it('is not prepared before the one in front of it is', () => {
    const journal = withStates(['extracted', 'extracted']);
    expect(() => advance(journal, { kind: 'prepare', step: 1, last: true })).toThrow(/those in front/);
  });

  it('can be fetched while the one in front of it is prepared', () => {
    const journal = withStates(['preparing', 'pending']);
    expect(statesOf(advance(journal, { kind: 'fetch', step: 1 }))).toEqual(['preparing', 'fetching']);
  });

  it('does not change any more once the hand-over has begun', () => {
    const journal = beginSwap(withStates(['prepared']), { mode: 'replace', aside: '/old', serverRan: true });
    expect(() => advance(journal, { kind: 'fetch', step: 0 })).toThrow(TypeError);
  });
});

describe('a restore that is started again', () => {
  it.each<[string, readonly StepState[], readonly StepState[], readonly number[]]>([
    [
      'nothing of a base half fetched',
      ['fetching', 'pending', 'pending'],
      ['pending', 'pending', 'pending'],
      [0, 1, 2],
    ],
    ['a base that is extracted', ['extracted', 'fetching', 'pending'], ['extracted', 'pending', 'pending'], [1, 2]],
    [
      'what is applied, and what waits',
      ['prepared', 'prepared', 'extracted'],
      ['prepared', 'prepared', 'extracted'],
      [],
    ],
    [
      'only what waits, when a prepare was interrupted: the base is in no known state',
      ['prepared', 'preparing', 'extracted'],
      ['pending', 'pending', 'extracted'],
      [0, 1],
    ],
    [
      'only what waits, when the prepare of the base was interrupted',
      ['preparing', 'extracted', 'extracted'],
      ['pending', 'extracted', 'extracted'],
      [0],
    ],
    ['everything that is ready', ['prepared', 'prepared', 'prepared'], ['prepared', 'prepared', 'prepared'], []],
  ])('keeps %s', (_what, left, kept, discarded) => {
    const { journal, discard } = resume(withStates(left), run, steps);
    expect(statesOf(journal)).toEqual(kept);
    expect(discard).toEqual(discarded);
  });

  it('keeps a base for a later backup of the same line', () => {
    const { journal, discard } = resume(withStates(['prepared', 'prepared']), run, steps);
    expect(statesOf(journal)).toEqual(['prepared', 'prepared', 'pending']);
    expect(discard).toEqual([2]);
  });

  it('keeps no base that was closed, when more is to be applied', () => {
    const { journal, discard } = resume(withStates(['prepared', 'prepared'], true), run, steps);
    expect(statesOf(journal)).toEqual(['pending', 'pending', 'pending']);
    expect(discard).toEqual([0, 1, 2]);
  });

  it('keeps no base that has more applied than is wanted', () => {
    const { journal, discard } = resume(withStates(['prepared', 'prepared', 'pending']), run, steps.slice(0, 1));
    expect(statesOf(journal)).toEqual(['pending']);
    expect(discard).toEqual([0, 1, 2]);
  });

  it('keeps nothing that comes from another manifest', () => {
    const { journal, discard } = resume(withStates(['prepared', 'extracted', 'extracted']), run, [
      stepOf(0, 'aa'),
      stepOf(1),
      stepOf(2, 'bb'),
    ]);
    expect(statesOf(journal)).toEqual(['pending', 'extracted', 'pending']);
    expect(discard).toEqual([0, 2]);
  });

  it('never keeps a state that an interruption may have left half done, whatever was left', () => {
    const state = fc.constantFrom<StepState>('pending', 'fetching', 'extracted', 'preparing', 'prepared');
    fc.assert(
      fc.property(fc.array(state, { minLength: 1, maxLength: 3 }), fc.integer({ min: 1, max: 3 }), (left, wanted) => {
        const { journal } = resume(withStates(left), run, steps.slice(0, wanted));
        const kept = statesOf(journal);
        expect(kept.some((is) => is === 'fetching' || is === 'preparing')).toBe(false);
        // Applied steps are the first ones, without a gap.
        expect(kept.slice(kept.lastIndexOf('prepared') + 1)).not.toContain('prepared');
        expect(kept.slice(0, kept.lastIndexOf('prepared') + 1).every((is) => is === 'prepared')).toBe(
          left.slice(0, kept.lastIndexOf('prepared') + 1).every((is) => is === 'prepared'),
        );
      }),
    );
  });
});

describe('a hand-over', () => {
  const apply = (facts: SwapFacts, move: string): SwapFacts => {
    switch (move) {
      case 'old-aside':
        return { ...facts, directory: false, aside: true };
      case 'new-in':
        return { ...facts, directory: true, staged: false };
      case 'new-out':
        return { ...facts, directory: false, staged: true };
      case 'old-back':
        return { ...facts, directory: true, aside: false };
      default:
        throw new Error(move);
    }
  };
  /** Every state on the way, the first included. */
  const walk = (swap: Swap, start: SwapFacts): readonly SwapFacts[] => {
    const seen = [start];
    for (let facts = start; seen.length < 10; ) {
      const position = swapPosition(swap, facts);
      if (position === 'unknown') throw new Error('unknown');
      const move = nextMove(swap, position);
      if (move === 'done') return seen;
      facts = apply(facts, move);
      seen.push(facts);
    }
    throw new Error('no end');
  };
  const swap: Swap = { mode: 'replace', direction: 'in', aside: '/d.old', serverRan: true };
  const before: SwapFacts = { directory: true, aside: false, staged: true };
  const after: SwapFacts = { directory: true, aside: true, staged: false };

  it('begins only when every step is prepared', () => {
    expect(() =>
      beginSwap(withStates(['prepared', 'extracted']), { mode: 'replace', aside: '/old', serverRan: true }),
    ).toThrow(TypeError);
  });

  it('never leaves a moment in which the old directory is neither in its place nor aside', () => {
    for (const facts of [...walk(swap, before), ...walk({ ...swap, direction: 'out' }, after)])
      expect(facts.aside || facts.directory).toBe(true);
    expect(walk(swap, before).at(-1)).toEqual(after);
    expect(walk({ ...swap, direction: 'out' }, after).at(-1)).toEqual(before);
  });

  it('can be continued or taken back from any point of either way', () => {
    for (const facts of [...walk(swap, before), ...walk({ ...swap, direction: 'out' }, after)]) {
      expect(walk(swap, facts).at(-1)).toEqual(after);
      expect(walk({ ...swap, direction: 'out' }, facts).at(-1)).toEqual(before);
    }
  });

  it('needs one rename where there is no old directory', () => {
    const { aside: _aside, ...alone } = swap;
    expect(walk(alone, { directory: false, aside: false, staged: true })).toHaveLength(2);
  });

  it('does not guess when somebody else moved the directories', () => {
    expect(swapPosition(swap, { directory: false, aside: false, staged: true })).toBe('unknown');
    expect(swapPosition(swap, { directory: true, aside: true, staged: true })).toBe('unknown');
    expect(swapPosition(swap, { directory: false, aside: true, staged: false })).toBe('unknown');
  });

  it('that is taken back starts its steps over: a server has run on what they made', () => {
    const journal = reverseSwap(beginSwap(withStates(['prepared', 'prepared']), swap as Swap & { aside: string }));
    expect(statesOf(journal)).toEqual(['pending', 'pending']);
    expect(journal.swap?.direction).toBe('out');
  });

  it('cannot be taken back where there is no old directory', () => {
    const journal = beginSwap(withStates(['prepared']), { mode: 'replace', aside: undefined, serverRan: false });
    expect(() => reverseSwap(journal)).toThrow(TypeError);
  });

  it('is only continued for the very same steps', () => {
    const journal = withStates(['prepared', 'prepared']);
    expect(isSameRestore(journal, steps.slice(0, 2))).toBe(true);
    expect(isSameRestore(journal, steps)).toBe(false);
    expect(isSameRestore(journal, [stepOf(0), stepOf(1, 'ff')])).toBe(false);
  });
});
