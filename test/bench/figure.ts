import type { Spread } from './compare.ts';

/** One side of a comparison. */
export interface Side {
  readonly what: string;
  readonly seconds: Spread;
  /** Of everything the side started; servers it talked to are not in it. */
  readonly cpuSeconds: number;
}

/** How often ours goes in the time of one of theirs: 2 is twice as fast. */
export interface RatioFigure {
  readonly kind: 'ratio';
  readonly name: string;
  readonly title: string;
  readonly ours: Side;
  readonly theirs: Side;
  /** Within each round, then the median of the rounds. */
  readonly ratio: Spread;
  readonly goal: number;
  readonly rounds: number;
  readonly notes: readonly string[];
}

export interface MemoryFigure {
  readonly kind: 'memory';
  readonly name: string;
  readonly title: string;
  readonly small: MemoryRun;
  readonly large: MemoryRun;
  readonly goalBytes: number;
  readonly notes: readonly string[];
}

export interface MemoryRun {
  readonly streamBytes: number;
  readonly storedBytes: number;
  readonly seconds: number;
  readonly peakBytes: number;
  /** At each tenth of the stream. */
  readonly residentBytes: readonly number[];
}

export type Figure = RatioFigure | MemoryFigure;

export interface Measured {
  readonly figure: Figure;
  readonly measuredAt: string;
}

export interface Results {
  /** What it was measured on: seconds are worth nothing elsewhere, ratios perhaps. */
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryBytes: number;
    readonly node: string;
  };
  readonly measured: readonly Measured[];
}

export const isGoalMet = (figure: Figure): boolean => {
  switch (figure.kind) {
    case 'ratio':
      return figure.ratio.median >= figure.goal;
    case 'memory':
      return figure.large.peakBytes <= figure.goalBytes;
  }
};
