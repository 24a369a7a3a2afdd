import type { Clock } from '#core/ports/clock.ts';

export interface FakeClock extends Clock {
  advance(milliseconds: number): void;
}

/** Time that only moves when it is told to, or somebody pauses. */
export const fakeClock = (start = '2026-11-22T05:12:10.000Z'): FakeClock => {
  let time = Date.parse(start);
  const advance = (milliseconds: number) => {
    time += milliseconds;
  };
  return {
    now: () => new Date(time),
    pause: async (milliseconds) => advance(milliseconds),
    advance,
  };
};
