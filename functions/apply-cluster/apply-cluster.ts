import type { z } from 'zod';
import type { ApplyClusterAnswer, applyClusterRequestSchema } from '#core/catalog-queries.ts';
import { encryptionFault } from '#core/encryption-fault.ts';
import { engineOptionsFault } from '#core/engine-options.ts';
import { RedoubtError } from '#core/errors.ts';
import type { Clusters } from '#core/ports/clusters.ts';
import type { Log } from '#core/ports/log.ts';
import type { Schedules } from '#core/ports/schedules.ts';
import { configChanges } from './config-changes.ts';
import { parseClusterFile } from './parse-cluster-file.ts';

export interface ApplyClusterDeps {
  readonly clusters: Clusters;
  readonly schedules: Schedules;
  readonly log: Log;
}

/**
 * Makes the cluster what its file says, and its schedule with it. Throws `InvalidClusterFile` with every problem, one a line, and
 * `EncryptionUnsupported` or `OptionUnsupported` for what the engine cannot do whatever its version.
 * The order leaves no crash without backups: a schedule is there before the configuration that promises it, and is removed
 * only after the configuration that does without. Applying the same file again repairs whatever is missing.
 */
export const applyCluster = async (
  { clusters, schedules, log }: ApplyClusterDeps,
  { file, dryRun }: z.output<typeof applyClusterRequestSchema>,
): Promise<ApplyClusterAnswer> => {
  const parsed = parseClusterFile(file);
  if (parsed.kind === 'invalid') throw new RedoubtError('InvalidClusterFile', parsed.problems.join('\n'));
  const { config } = parsed;
  const fault = encryptionFault(config);
  if (fault) throw new RedoubtError(fault.code, fault.detail);
  const unknown = engineOptionsFault(config);
  if (unknown) throw new RedoubtError('OptionUnsupported', unknown);
  const { cluster } = config;
  const { schedule: expression, timezone } = config.policy;
  const changes = configChanges(await clusters.get(cluster), config);
  if (dryRun) return { config, ...(expression && { schedule: schedules.nameOf(cluster) }), changes };
  const schedule = expression && (await schedules.put({ cluster, expression, timezone }));
  await clusters.put(config);
  if (!expression) await schedules.remove(cluster);
  log.info('cluster-applied', { cluster, changes: changes.length, schedule: expression });
  return { config, ...(schedule && { schedule }), changes };
};
