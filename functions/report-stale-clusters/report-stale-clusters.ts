import { z } from 'zod';
import { type ClusterId, plannedAt } from '#core/ids.ts';
import type { Chains } from '#core/ports/chains.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { Clusters } from '#core/ports/clusters.ts';
import type { Log } from '#core/ports/log.ts';
import { alertAfterHours, isStale } from '#core/staleness.ts';
import { latestBackup } from '../recording/latest-backup.ts';
import { inParallel } from '../runtime/in-parallel.ts';

export const reportStaleClustersInputSchema = z.strictObject({});

export interface ReportStaleClustersDeps {
  readonly clusters: Clusters;
  readonly chains: Chains;
  readonly clock: Clock;
  readonly log: Log;
}

export interface BackupAge {
  readonly cluster: ClusterId;
  /** Since the last backup that can be restored was begun; since the cluster was first applied, where there is none. */
  readonly seconds: number;
  readonly isStale: boolean;
}

const IN_PARALLEL = 8;

/**
 * How long each cluster has gone without a backup, by the control plane's own clock: that of a host may be wrong. It looks at what is
 * there and not at what failed, so it also sees a schedule that never fires and runs that never end.
 */
export const reportStaleClusters = async (deps: ReportStaleClustersDeps): Promise<readonly BackupAge[]> => {
  const { clusters, chains, clock, log } = deps;
  const now = clock.now();
  return inParallel(await clusters.applied(), IN_PARALLEL, async ({ config, firstAppliedAt }) => {
    const { cluster, policy } = config;
    const latest = await latestBackup(chains, cluster, await chains.head(cluster));
    const since = latest ? plannedAt(latest.backup) : firstAppliedAt;
    const stale = isStale(policy, since, now);
    if (stale)
      log.warn('cluster-stale', {
        cluster,
        backup: latest?.backup,
        since: since.toISOString(),
        alertAfterHours: alertAfterHours(policy),
      });
    return { cluster, seconds: Math.max(0, (now.getTime() - since.getTime()) / 1000), isStale: stale };
  });
};
