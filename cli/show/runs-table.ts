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
      { title: 'what and why', of: ({ kind, seq, reason }) => `${whatOf(kind, seq)}: ${reason}` },
    ],
    runs,
  );

const whatOf = (kind: ShownRun['kind'], seq: number): string =>
  kind === 'restore' ? 'restore' : seq === 0 ? 'full' : `increment ${seq}`;
