import type { Timed } from './time-shell.ts';

export interface Spread {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
}

export interface Round {
  readonly ours: Timed;
  readonly theirs: Timed;
}

export const spreadOf = (values: readonly number[]): Spread => {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const [low, high] = [sorted[Math.floor(middle)] ?? Number.NaN, sorted[Math.ceil(middle)] ?? Number.NaN];
  return { median: (low + high) / 2, lowest: sorted[0] ?? Number.NaN, highest: sorted.at(-1) ?? Number.NaN };
};

/**
 * Runs both sides in turn, in changing order, after one round that is not counted. A ratio is made within each round, so that what else the machine
 * does in the course of minutes falls on both of its sides.
 */
export const compare = async (
  rounds: number,
  ours: () => Promise<Timed>,
  theirs: () => Promise<Timed>,
  onRound: (round: number) => void = () => {},
): Promise<readonly Round[]> => {
  const results: Round[] = [];
  for (let round = 0; round <= rounds; round++) {
    onRound(round);
    let pair: Round;
    if (round % 2 === 0) pair = { ours: await ours(), theirs: await theirs() };
    else {
      const other = await theirs();
      pair = { ours: await ours(), theirs: other };
    }
    if (round > 0) results.push(pair);
  }
  return results;
};
