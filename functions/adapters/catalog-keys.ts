import type { ChainId, ClusterId, RunId } from '#core/ids.ts';
import { tableLayout } from '#core/table-layout.ts';

/** The one owner of the keys of the catalog's items. */
interface ItemKey {
  readonly pk: string;
  readonly sk: string;
}

const PLACE_DIGITS = 6;

const clusterKey = (cluster: ClusterId): string => `CLUSTER#${cluster}`;

export const configKey = (cluster: ClusterId): ItemKey => ({ pk: clusterKey(cluster), sk: 'CONFIG' });

export const leaseKey = (cluster: ClusterId): ItemKey => ({ pk: clusterKey(cluster), sk: 'LEASE' });

export const headKey = (cluster: ClusterId): ItemKey => ({ pk: clusterKey(cluster), sk: 'HEAD' });

export const CHAIN_PREFIX = 'CHAIN#';

export const chainKey = (cluster: ClusterId, chain: ChainId): ItemKey => ({
  pk: clusterKey(cluster),
  sk: `${CHAIN_PREFIX}${chain}`,
});

/** Sorts behind its chain, in the order of the places. */
export const backupKey = (cluster: ClusterId, chain: ChainId, seq: number): ItemKey => ({
  pk: clusterKey(cluster),
  sk: `${CHAIN_PREFIX}${chain}#${String(seq).padStart(PLACE_DIGITS, '0')}`,
});

export const runKey = (run: RunId): ItemKey => ({ pk: `RUN#${run}`, sk: 'RUN' });

export const commandKey = (command: string): ItemKey => ({ pk: `COMMAND#${command}`, sk: 'COMMAND' });

/** The index that lists: the runs of a cluster by their start, and the clusters by their name. */
export const LIST_INDEX = tableLayout.listIndex.name;

const { partition, sort } = tableLayout.listIndex;

/** Of no known cluster where there is none. */
export const runsOf = (cluster: ClusterId | undefined): string => (cluster ? clusterKey(cluster) : 'NO-CLUSTER');

export const listedRun = (cluster: ClusterId | undefined, startedAt: string, run: RunId) => ({
  [partition]: runsOf(cluster),
  [sort]: `RUN#${startedAt}#${run}`,
});

export const CLUSTERS = 'CLUSTERS';

export const listedCluster = (cluster: ClusterId) => ({ [partition]: CLUSTERS, [sort]: cluster });
