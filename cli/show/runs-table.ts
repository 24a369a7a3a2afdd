import type { ShownRun } from '#core/catalog-queries.ts';
import { formatSpan } from './format-duration.ts';
import { formatTime } from './format-time.ts';
import { textTable } from './text-table.ts';

/** Newest first, as the catalog answers them. */
export const runsTable = (runs: readonly ShownRun[]): string =>
  textTable<ShownRun>(
    [
      { title: 'run', of: ({ run }) => run },
      { title: 'state', of: ({ state, error }) => (error ? `${state}: ${error}` : state) },
      { title: 'started (UTC)', of: ({ startedAt }) => formatTime(startedAt) },
      {
        title: 'took',
        of: ({ startedAt, endedAt }) => (endedAt === undefined ? '' : formatSpan(startedAt, endedAt)),
        right: true,
      },
      { title: 'what and why', of: whatAndWhy },
    ],
    runs,
  );

const whatAndWhy = (run: ShownRun): string => {
  if (run.chain === undefined) return `${run.kind}: ${run.detail}`;
  const what = run.kind === 'restore' ? 'restore' : run.seq === 0 ? 'full' : `increment ${run.seq}`;
  return `${what}: ${run.reason}`;
};
