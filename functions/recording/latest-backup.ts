import type { BackupRecord, ChainHead } from '#core/catalog-records.ts';
import type { ClusterId } from '#core/ids.ts';
import type { Chains } from '#core/ports/chains.ts';

/** The newest backup that can be opened; `head` is the cluster's. */
export const latestBackup = async (
  chains: Chains,
  cluster: ClusterId,
  head: ChainHead | undefined,
): Promise<BackupRecord | undefined> => {
  if (!head?.shredded) return head && chains.backup(cluster, head.chain, head.tip.seq);
  const known = await chains.all(cluster);
  const openable = new Set(known.chains.flatMap(({ chain, keys }) => ('shredded' in keys ? [] : [chain])));
  return known.backups.findLast(({ chain }) => openable.has(chain));
};
