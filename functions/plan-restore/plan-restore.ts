import { z } from 'zod';
import { PROTOCOL_VERSION, restoreInstructionSchema } from '#core/agent-protocol.ts';
import type { ClusterConfig, HostConfig } from '#core/cluster-config.ts';
import { RedoubtError } from '#core/errors.ts';
import { type ChainId, type ClusterId, type InstanceId, runIdSchema } from '#core/ids.ts';
import type { Chains } from '#core/ports/chains.ts';
import type { Clusters } from '#core/ports/clusters.ts';
import { planRestore as chooseSteps, restoreDirectory } from '#core/restore-plan.ts';
import { restoreRequestSchema } from '#core/run-requests.ts';
import type { ChainKeys } from '#core/wrapped-key.ts';
import { earlierRun } from '../runs/earlier-run.ts';
import { grantName } from '../runs/grant-name.ts';
import { type TakeLeaseDeps, takeLease } from '../runs/take-lease.ts';
import { undoingOnFailure } from '../runs/undoing-on-failure.ts';
import { writePlan } from '../runs/write-plan.ts';
import { TASK_TIMEOUT_SECONDS } from '../runtime/task-timeout.ts';

export const planRestoreInputSchema = z.strictObject({
  ...restoreRequestSchema.shape,
  run: runIdSchema,
  /** ARN of the execution. */
  execution: z.string().startsWith('arn:'),
  /** Only says what would be done, for who has to approve it: nothing is taken, lent or written. */
  preview: z.boolean().default(false),
});
export type PlanRestoreInput = z.output<typeof planRestoreInputSchema>;

export interface PlanRestoreDeps extends TakeLeaseDeps {
  readonly clusters: Clusters;
  readonly chains: Chains;
  readonly heartbeatSeconds: number;
}

/** Everything of the instruction but the task token, which only the task knows, and the keys, which the run keeps. */
export const plannedRestoreSchema = restoreInstructionSchema.omit({ taskToken: true, keys: true });

export interface PlannedRestore {
  /** In the wire's form: LSNs are decimal strings. */
  readonly instruction: z.input<typeof plannedRestoreSchema>;
  readonly agentDirectory: string;
  readonly heartbeatSeconds: number;
  readonly timeoutSeconds: number;
}

/** A restore asks its host once. */
const ATTEMPT = 1;

/**
 * Chooses what is applied where, refusing by name what must not be done. A restore that replaces the data directory is the
 * cluster's one writer while it runs, so that no backup is taken of a server that is being exchanged.
 */
export const planRestore = async (deps: PlanRestoreDeps, input: PlanRestoreInput): Promise<PlannedRestore> => {
  const { clusters, chains, leases, runs, keys, clock, log } = deps;
  const { cluster, run, target } = input;
  const config = await clusters.get(cluster);
  if (!config) throw new RedoubtError('UnknownCluster', `no cluster ${cluster} was applied`);
  const host = hostOf(config, target.instance);
  const where = restoreDirectory(config, cluster, {
    ...target,
    // Somebody approves this very request before the host is asked: that says what typing the name would.
    confirm: input.approval ? cluster : input.confirm,
  });
  if ('code' in where) throw new RedoubtError(where.code, where.detail);
  const known = await chains.all(cluster);
  const plan = chooseSteps(known.backups, input.to, known.chains);
  if (plan.kind === 'refuse') throw new RedoubtError(plan.code, plan.detail);
  const last = plan.steps.at(-1) ?? plan.steps[0];
  const instruction: z.output<typeof plannedRestoreSchema> = {
    protocol: PROTOCOL_VERSION,
    kind: 'restore',
    run,
    attempt: ATTEMPT,
    cluster,
    host: host.instance,
    heartbeatSeconds: deps.heartbeatSeconds,
    chain: plan.chain,
    engine: config.engine,
    ...(config.engineDirectory !== undefined && { engineDirectory: config.engineDirectory }),
    mode: target.mode,
    directory: where.directory,
    server: config.server,
    limits: config.limits,
    decryptAt: config.encryption.decryptAt,
    ...(config.tablespaceEncryption && { tablespaceEncryption: config.tablespaceEncryption }),
    steps: plan.steps,
  };
  const answer: PlannedRestore = {
    instruction: z.encode(plannedRestoreSchema, instruction),
    agentDirectory: host.agentDirectory,
    heartbeatSeconds: deps.heartbeatSeconds,
    timeoutSeconds: TASK_TIMEOUT_SECONDS,
  };
  if (input.preview) return answer;
  return undoingOnFailure(log, async (undo) => {
    const lease = target.mode === 'replace' ? await takeLease(deps, cluster, run, input.execution) : undefined;
    if (lease) undo.add(() => leases.release(cluster, lease.token));
    // The function is tried again: what the first try lent is taken back before its record is overwritten.
    const earlier = await earlierRun(runs, run, input.execution);
    for (const grant of earlier?.grants ?? []) await keys.revoke(grant);
    await writePlan(runs, {
      run,
      cluster,
      kind: 'restore',
      state: 'planned',
      execution: input.execution,
      startedAt: earlier?.startedAt ?? clock.now().toISOString(),
      reason: `${plan.reason}, to ${where.directory} of ${host.instance} (${target.mode})`,
      host: host.instance,
      chain: plan.chain,
      backup: last.backup,
      seq: last.seq,
      attempt: ATTEMPT,
      ...(lease && { fencingToken: lease.token }),
      grants: [],
    });
    // Read after the run was written: who shreds the chain at this moment either sees the run, or is seen here.
    const chainKeys = await keysOf(deps, cluster, plan.chain);
    const { token, ...grant } = await keys.lend({ keys: chainKeys, role: host.role, name: grantName(run, ATTEMPT) });
    undo.add(() => keys.revoke(grant));
    const lent = await runs.transition(run, 'replan', {
      grants: [grant],
      lent: { keys: chainKeys, grantToken: token },
    });
    if (lent.kind !== 'done') throw new RedoubtError('RunCancelled', `run ${run} has ended already`);
    log.info('restore-planned', {
      cluster,
      run,
      backup: last.backup,
      steps: plan.steps.length,
      host: host.instance,
      mode: target.mode,
      reason: plan.reason,
    });
    return answer;
  });
};

const keysOf = async ({ chains }: PlanRestoreDeps, cluster: ClusterId, chain: ChainId): Promise<ChainKeys> => {
  const record = await chains.chain(cluster, chain);
  if (!record)
    throw new RedoubtError('NoRestorableBackup', `the catalog has backups of chain ${chain}, but not its keys`);
  if ('shredded' in record.keys)
    throw new RedoubtError('KeyShredded', `the keys of chain ${chain} were shredded at ${record.keys.shredded.at}`);
  return record.keys;
};

/** Only a host of the cluster file: its role is what gets the grant. */
const hostOf = (config: ClusterConfig, instance: InstanceId | undefined): HostConfig => {
  const host = instance === undefined ? config.hosts[0] : config.hosts.find((known) => known.instance === instance);
  if (host) return host;
  throw new RedoubtError(
    'InvalidInput',
    `${instance} is not a host of ${config.cluster}; add it under hosts in the cluster file and apply that first`,
  );
};
