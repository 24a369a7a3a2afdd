import { z } from 'zod';
import { backupInstructionSchema, PROTOCOL_VERSION } from '#core/agent-protocol.ts';
import type { ChainHead } from '#core/catalog-records.ts';
import type { ClusterConfig } from '#core/cluster-config.ts';
import { type ErrorCode, errorCodes, RedoubtError } from '#core/errors.ts';
import { type ChainId, type ClusterId, newBackupId, newChainId, runIdSchema } from '#core/ids.ts';
import { neededKeys } from '#core/needed-keys.ts';
import { type NextBackup, nextBackup } from '#core/next-backup.ts';
import { placePrefix } from '#core/object-keys.ts';
import type { Clusters } from '#core/ports/clusters.ts';
import type { Random } from '#core/ports/random.ts';
import { backupRequestSchema } from '#core/run-requests.ts';
import { type ChainKeys, chainKeysSchema, encryptionContext } from '#core/wrapped-key.ts';
import { type AdoptDeps, adoptManifests } from '../recording/adopt-manifests.ts';
import { grantName } from '../runs/grant-name.ts';
import { type TakeLeaseDeps, takeLease } from '../runs/take-lease.ts';
import { undoingOnFailure } from '../runs/undoing-on-failure.ts';
import { writePlan } from '../runs/write-plan.ts';
import { TASK_TIMEOUT_SECONDS } from '../runtime/task-timeout.ts';
import { clearEarlierPlan } from './clear-earlier-plan.ts';
import { type RevokeStraysDeps, revokeStrays } from './revoke-strays.ts';

export const planBackupInputSchema = z.strictObject({
  ...backupRequestSchema.shape,
  run: runIdSchema,
  /** ARN of the execution. */
  execution: z.string().startsWith('arn:'),
  attempt: z.number().int().positive().default(1),
  /** The named error with which the host refused an increment earlier in this run. */
  refusal: z
    .object({ code: z.enum(errorCodes as readonly [ErrorCode, ...ErrorCode[]]), detail: z.string() })
    .optional(),
});
export type PlanBackupInput = z.output<typeof planBackupInputSchema>;

export interface PlanBackupDeps extends TakeLeaseDeps, AdoptDeps, RevokeStraysDeps {
  readonly clusters: Clusters;
  readonly random: Random;
  readonly heartbeatSeconds: number;
}

/** Everything of the instruction but the task token, which only the task knows, and the keys, which the run keeps. */
export const plannedBackupSchema = backupInstructionSchema.omit({ taskToken: true, keys: true });

export interface PlannedBackup {
  /** In the wire's form: LSNs are decimal strings. */
  readonly instruction: z.input<typeof plannedBackupSchema>;
  readonly agentDirectory: string;
  readonly heartbeatSeconds: number;
  readonly timeoutSeconds: number;
}

/**
 * Makes the run the cluster's writer and decides its next backup. The order is the safety argument: the lease first, so that
 * nobody else decides at the same time; then the repository's manifests, so that the decision stands on what is true; then the
 * run, so that a crash leaves something to settle; keys and grant last, because they are what must not be left behind.
 * Whatever fails after the lease gives back what was taken.
 */
export const planBackup = async (deps: PlanBackupDeps, input: PlanBackupInput): Promise<PlannedBackup> => {
  const { clusters, leases, runs, keys, clock, log } = deps;
  const { cluster, run, attempt } = input;
  const config = await clusters.get(cluster);
  if (!config) throw new RedoubtError('UnknownCluster', `no cluster ${cluster} was applied`);
  return undoingOnFailure(log, async (undo) => {
    const lease = await takeLease(deps, cluster, run, input.execution);
    undo.add(() => leases.release(cluster, lease.token));
    const earlier = await clearEarlierPlan(deps, run, input.execution);
    await revokeStrays(deps, cluster, run);
    const { head } = await adoptManifests(deps, cluster, lease);
    const now = clock.now();
    const decision = nextBackup({
      config,
      head,
      requested: input.kind,
      now,
      ...(input.refusal && { refusal: input.refusal }),
      ...(input.reason !== undefined && { note: input.reason }),
    });
    const place = await placeOf(deps, cluster, decision, head, now);
    await writePlan(runs, {
      run,
      cluster,
      kind: 'backup',
      state: 'planned',
      execution: input.execution,
      startedAt: earlier?.startedAt ?? now.toISOString(),
      reason: decision.reason,
      host: decision.host.instance,
      ...place,
      attempt,
      fencingToken: lease.token,
      grants: [],
    });
    const chainKeys =
      decision.kind === 'full' ? await makeKeys(deps, config, place.chain) : await keysOf(deps, cluster, place.chain);
    const { token, ...grant } = await keys.lend({
      keys: chainKeys,
      role: decision.host.role,
      name: grantName(run, attempt),
    });
    undo.add(() => keys.revoke(grant));
    const lent = await runs.transition(run, 'replan', {
      grants: [grant],
      lent: { keys: chainKeys, grantToken: token },
    });
    if (lent.kind !== 'done') throw new RedoubtError('RunCancelled', `run ${run} has ended already`);
    log.info('backup-planned', {
      cluster,
      run,
      attempt,
      kind: decision.kind,
      code: decision.code,
      reason: decision.reason,
      backup: place.backup,
      host: decision.host.instance,
      token: lease.token,
    });
    const instruction: z.output<typeof plannedBackupSchema> = {
      protocol: PROTOCOL_VERSION,
      kind: 'backup',
      run,
      attempt,
      cluster,
      host: decision.host.instance,
      heartbeatSeconds: deps.heartbeatSeconds,
      ...place,
      ...(decision.kind === 'incremental' && { parent: decision.head.tip }),
      reason: decision.reason,
      fencingToken: lease.token,
      engine: config.engine,
      ...(config.engineDirectory !== undefined && { engineDirectory: config.engineDirectory }),
      server: config.server,
      limits: config.limits,
      encryption: config.encryption,
      ...(config.tablespaceEncryption && { tablespaceEncryption: config.tablespaceEncryption }),
      ...(config.history && { history: { ...config.history, name: config.history.name ?? cluster } }),
      engineOptions: config.engineOptions,
      expectedBytes: (decision.kind === 'full' ? head?.fullStreamBytes : decision.head.lastIncrementStreamBytes) ?? 0,
    };
    return {
      instruction: z.encode(plannedBackupSchema, instruction),
      agentDirectory: decision.host.agentDirectory,
      heartbeatSeconds: deps.heartbeatSeconds,
      timeoutSeconds: TASK_TIMEOUT_SECONDS,
    };
  });
};

const SUFFIX_BYTES = 3;
const SECOND = 1000;

const placeOf = async (
  { random, repository }: PlanBackupDeps,
  cluster: ClusterId,
  decision: NextBackup,
  head: ChainHead | undefined,
  now: Date,
) => {
  if (decision.kind === 'incremental') {
    const { chain, tip } = decision.head;
    const seq = tip.seq + 1;
    const taken = await repository.folders(placePrefix(cluster, chain, seq));
    // An attempt of this very second may have left its tombstone.
    let at = now;
    while (taken.includes(`${newBackupId(at, chain, seq)}/`)) at = new Date(at.getTime() + SECOND);
    return { chain, seq, backup: newBackupId(at, chain, seq) };
  }
  const chain = newChainId(now, random.hex(SUFFIX_BYTES), head?.chain);
  return { chain, seq: 0, backup: newBackupId(now, chain, 0) };
};

const makeKeys = async ({ keys }: PlanBackupDeps, config: ClusterConfig, chain: ChainId): Promise<ChainKeys> => {
  const made = neededKeys(config).map(
    async ({ name, purpose, bytes }) =>
      [name, await keys.generate(encryptionContext(config.cluster, chain, purpose), bytes)] as const,
  );
  return chainKeysSchema.parse(Object.fromEntries(await Promise.all(made)));
};

const keysOf = async ({ chains }: PlanBackupDeps, cluster: ClusterId, chain: ChainId): Promise<ChainKeys> => {
  const record = await chains.chain(cluster, chain);
  if (!record)
    throw new RedoubtError('CatalogConflict', `the catalog has the head of chain ${chain}, but not the chain`);
  if ('shredded' in record.keys)
    throw new RedoubtError('KeyShredded', `the keys of chain ${chain} were shredded at ${record.keys.shredded.at}`);
  return record.keys;
};
