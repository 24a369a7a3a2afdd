import { type Figure, isGoalMet, type Results } from './figure.ts';
import { megabytes } from './format.ts';

const ratio = (value: number): string => `${value.toFixed(2)}×`;

const lines = (figure: Figure): readonly string[] => {
  switch (figure.kind) {
    case 'ratio': {
      const { ours, theirs } = figure;
      return [
        `${ratio(figure.ratio.median)}  (${ratio(figure.ratio.lowest)} to ${ratio(figure.ratio.highest)} in ${figure.rounds} rounds; goal ${ratio(figure.goal)})`,
        ...[ours, theirs].map(
          ({ what, seconds, cpuSeconds }) =>
            `${seconds.median.toFixed(2).padStart(7)} s (${seconds.lowest.toFixed(2)} to ${seconds.highest.toFixed(2)}), ${cpuSeconds.toFixed(2)} s of CPU: ${what}`,
        ),
      ];
    }
    case 'memory':
      return [
        `${megabytes(figure.large.peakBytes)} at most  (goal ${megabytes(figure.goalBytes)})`,
        ...[figure.small, figure.large].map(
          ({ streamBytes, storedBytes, seconds, peakBytes, residentBytes }) =>
            `${megabytes(streamBytes)} in ${Math.round(seconds)} s, ${megabytes(storedBytes)} stored: peak ${megabytes(peakBytes)}; at each tenth ${residentBytes.map((bytes) => Math.round(bytes / 1e6)).join(', ')} MB`,
        ),
      ];
    case 'control-plane':
      return figure.backups.map(
        ({ what, usage, dollars }) =>
          `${what}: ${usage.stateTransitions} state transitions, ${usage.lambdaInvocations} Lambda invocations (${usage.lambdaGigabyteSeconds.toFixed(2)} GB-s), DynamoDB ${usage.dynamoDbReadUnits} read and ${usage.dynamoDbWriteUnits} write units, KMS ${usage.kmsRequests}, SSM ${usage.ssmCalls}, S3 ${usage.s3Writes} writes and ${usage.s3Reads} reads: $${dollars.toFixed(5)}`,
      );
  }
};

const verdict = (figure: Figure): string => {
  const met = isGoalMet(figure);
  return met === undefined ? '      ' : met ? 'met   ' : 'MISSED';
};

/** For a terminal. */
export const renderTable = ({ machine, measured }: Results): string =>
  [
    `${machine.cores} cores (${machine.cpu}), ${megabytes(machine.memoryBytes)} of memory, Node ${machine.node}. Other work may run beside: trust ratios, not seconds.`,
    ...measured.flatMap(({ figure }) => [
      '',
      `${verdict(figure)}  ${figure.name}: ${figure.title}`,
      ...[...lines(figure), ...figure.notes].map((line) => `        ${line}`),
    ]),
    '',
  ].join('\n');
