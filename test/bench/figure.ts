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

/** What a run used of what AWS charges by use. */
export interface Usage {
  readonly stateTransitions: number;
  readonly lambdaInvocations: number;
  readonly lambdaGigabyteSeconds: number;
  readonly dynamoDbReadUnits: number;
  readonly dynamoDbWriteUnits: number;
  readonly kmsRequests: number;
  readonly ssmCalls: number;
  readonly s3Writes: number;
  readonly s3Reads: number;
}

export interface BackupCost {
  readonly what: string;
  readonly usage: Usage;
  readonly dollars: number;
}

export interface ControlPlaneFigure {
  readonly kind: 'control-plane';
  readonly name: string;
  readonly title: string;
  readonly backups: readonly BackupCost[];
  readonly notes: readonly string[];
}

export type Figure = RatioFigure | MemoryFigure | ControlPlaneFigure;

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

/** `undefined` where there is none to meet. */
export const isGoalMet = (figure: Figure): boolean | undefined => {
  switch (figure.kind) {
    case 'ratio':
      return figure.ratio.median >= figure.goal;
    case 'memory':
      return figure.large.peakBytes <= figure.goalBytes;
    case 'control-plane':
      return undefined;
  }
};
