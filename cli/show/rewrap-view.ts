import type { ClusterId } from '#core/ids.ts';
import type { RewrapAnswer, RewrappedChain } from '#core/key-requests.ts';
import { type Column, textTable } from './text-table.ts';

const columns: readonly Column<RewrappedChain>[] = [
  { title: 'chain', of: ({ chain }) => chain },
  { title: 'state', of: ({ state }) => state },
  { title: 'manifests', of: ({ manifests }) => String(manifests), right: true },
  { title: 'to change', of: ({ stale }) => String(stale), right: true },
  { title: 'under', of: ({ from }) => from.join(', ') },
];

/** What a re-wrap did, or would do, and what is to be done next. */
export const rewrapView = (cluster: ClusterId, { to, executed, chains, busy }: RewrapAnswer): string => {
  const stale = chains.filter(({ state }) => state === 'stale').length;
  const unreadable = chains.flatMap((chain) => chain.unreadable);
  return [
    `to ${to}`,
    ...(chains.length > 0 ? [textTable(columns, chains)] : ['no chain yet']),
    ...(unreadable.length > 0 ? [`not readable, left as they are: ${unreadable.join(', ')}`] : []),
    ...(!executed && stale > 0 ? ['nothing was changed; do it with --execute'] : []),
    ...(executed && busy
      ? [
          `run ${busy} has keys from before; when it has ended, look again with: redoubt keys rewrap ${cluster} --to ${to}`,
        ]
      : []),
  ].join('\n');
};
