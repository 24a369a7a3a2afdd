import { type Round, spreadOf } from './compare.ts';
import type { RatioFigure } from './figure.ts';

/** A figure out of the rounds that were measured. */
export const ratioFigure = (
  rounds: readonly Round[],
  about: Pick<RatioFigure, 'name' | 'title' | 'goal' | 'notes'> & { readonly ours: string; readonly theirs: string },
): RatioFigure => {
  const side = (what: string, of: 'ours' | 'theirs') => ({
    what,
    seconds: spreadOf(rounds.map((round) => round[of].seconds)),
    cpuSeconds: spreadOf(rounds.map((round) => round[of].cpuSeconds)).median,
  });
  return {
    kind: 'ratio',
    name: about.name,
    title: about.title,
    goal: about.goal,
    notes: about.notes,
    ours: side(about.ours, 'ours'),
    theirs: side(about.theirs, 'theirs'),
    ratio: spreadOf(rounds.map(({ ours, theirs }) => theirs.seconds / ours.seconds)),
    rounds: rounds.length,
  };
};
