import { answerSchema, phases } from '#core/agent-protocol.ts';
import type { CatalogAnswer, ShownRun } from '#core/catalog-queries.ts';
import { errorKind } from '#core/errors.ts';
import { formatBytes } from './format-bytes.ts';
import { formatDuration, formatSpan } from './format-duration.ts';
import { formatTime } from './format-time.ts';
import { progressLine } from './progress-line.ts';

/** A phase that took less would be shown as 0.0 s. */
const shownFromSeconds = 0.05;

const planOf = (run: ShownRun): readonly [string, string][] =>
  run.chain === undefined
    ? [['what', `${run.kind} of ${run.cluster ?? 'no known cluster'}, ended before it was planned`]]
    : [
        [
          'what',
          `${run.kind === 'restore' ? 'restore to' : run.seq === 0 ? 'full' : `increment ${run.seq}`} ${run.backup}`,
        ],
        ['why', run.reason],
        ['host', run.host],
      ];

/** One run, a fact a line. */
export const runView = ({ run, progress }: CatalogAnswer<'run'>): string => {
  const facts: [string, string][] = [
    ['run', run.run],
    ['state', run.state],
    ...planOf(run),
    ['started', `${formatTime(run.startedAt)} UTC`],
  ];
  if (run.endedAt !== undefined)
    facts.push(['ended', `${formatTime(run.endedAt)} UTC, after ${formatSpan(run.startedAt, run.endedAt)}`]);
  else if (progress !== undefined) facts.push(['progress', progressLine(progress)]);
  const answer = answerSchema.safeParse(run.chain === undefined ? undefined : run.answer);
  if (answer.success) {
    const { data } = answer;
    facts.push([
      'result',
      data.kind === 'backup'
        ? `${formatBytes(data.storedBytes)} stored of ${formatBytes(data.streamBytes)} copied`
        : `${formatBytes(data.restoredBytes)} in ${data.directory}`,
    ]);
    if (data.kind === 'restore' && data.movedAside !== undefined) facts.push(['moved aside', data.movedAside]);
    facts.push([
      'phases',
      phases
        .filter((phase) => (data.seconds[phase] ?? 0) >= shownFromSeconds)
        .map((phase) => `${phase} ${formatDuration(data.seconds[phase] ?? 0)}`)
        .join(', '),
    ]);
  }
  if (run.error !== undefined) {
    facts.push(['error', [run.error, run.detail].filter(Boolean).join(': ')]);
    facts.push(['hint', errorKind(run.error).hint]);
  }
  facts.push(['execution', run.execution]);
  return facts.map(([name, value]) => `${name.padEnd(12)} ${value}`).join('\n');
};
