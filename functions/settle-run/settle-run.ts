import { z } from 'zod';
import { answerSchema } from '#core/agent-protocol.ts';
import { isPlanned, type PlannedRun, type RunRecord, type RunState, type UnplannedRun } from '#core/catalog-records.ts';
import { asRedoubtError, type ErrorCode, type RedoubtError } from '#core/errors.ts';
import type { ClusterId, RunId } from '#core/ids.ts';
import { backupPrefix } from '#core/object-keys.ts';
import type { Chains } from '#core/ports/chains.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { Clusters } from '#core/ports/clusters.ts';
import type { Commands } from '#core/ports/commands.ts';
import type { Keys } from '#core/ports/keys.ts';
import type { Leases } from '#core/ports/leases.ts';
import type { Log } from '#core/ports/log.ts';
import type { Repository } from '#core/ports/repository.ts';
import type { RunChanges, Runs } from '#core/ports/runs.ts';
import type { RunTransition } from '#core/run-transitions.ts';
import { keysLeftIn } from '#core/wrapped-key.ts';
import { appendManifest } from '../recording/append-manifest.ts';
import { objectsFault } from '../recording/objects-fault.ts';
import { readManifest } from '../recording/read-manifest.ts';
import { removeUncommitted } from '../recording/remove-uncommitted.ts';
import { grantName } from '../runs/grant-name.ts';
import { type NamedFailure, namedFailure } from './named-failure.ts';
import type { SettleRequest } from './settle-request.ts';

export interface SettleRunDeps {
  readonly clusters: Clusters;
  readonly runs: Runs;
  readonly leases: Leases;
  readonly chains: Chains;
  readonly keys: Keys;
  readonly repository: Repository;
  readonly commands: Commands;
  readonly clock: Clock;
  readonly log: Log;
  /** ARN of the state machine that backs up. */
  readonly backupStateMachine: string;
}

export interface SettledRun {
  readonly run: RunId;
  /** `unknown`: a run of this name is another execution's. */
  readonly state: RunState | 'unknown';
  readonly kind?: RunRecord['kind'];
  readonly cluster?: ClusterId;
  /** Whether this call ended the run, or an earlier one had. */
  readonly isFirst: boolean;
  readonly error?: ErrorCode;
  readonly detail?: string;
  /** Of a backup that succeeded. */
  readonly storedBytes?: number;
}

const transitions = { succeeded: 'succeed', failed: 'fail', aborted: 'abort' } as const satisfies Record<
  SettleRequest['outcome'],
  RunTransition
>;

/**
 * Ends a run: nothing it was lent, started or left half done stays behind. Called by the state machine's last step and, where
 * an execution ended without it, by the event of its end; calling it again changes nothing. Each step is tried whatever the
 * others did; the run is marked last, with the error it ended with, and then the first step that failed is thrown, so that the
 * call, which can do every step again, is repeated.
 *
 * The agent may still be alive: a host that fell silent, an execution that was stopped. Removing what it left is safe all the
 * same. Its task has ended, so its next heartbeat is refused and it stops. Should it come to commit before that, then either its
 * manifest lies there first, and is adopted, or the tombstone does, and it cannot commit (`remove-uncommitted.ts`). What it uploads
 * after this is removed by the next plan, which looks at the same place.
 */
export const settleRun = async (deps: SettleRunDeps, request: SettleRequest): Promise<SettledRun> => {
  const { runs, keys, commands, clock, log } = deps;
  const { run, outcome } = request;
  const failure = outcome === 'succeeded' ? undefined : namedFailure(request.error, request.cause);
  const problems: RedoubtError[] = [];
  const step = async <Result>(name: string, act: () => Promise<Result>): Promise<Result | undefined> => {
    try {
      return await act();
    } catch (thrown) {
      const problem = asRedoubtError(thrown);
      problems.push(problem);
      log.error('settle-step-failed', { run, step: name, error: problem.code, detail: problem.detail });
      return undefined;
    }
  };
  const retryOnProblem = () => {
    const [first] = problems;
    if (first) throw first;
  };

  const record = await runs.get(run);
  if (!record || !isPlanned(record) || record.execution !== request.execution) {
    const { cluster } = request;
    if (cluster) await step('release the lease', () => releaseLease(deps, cluster, request));
    retryOnProblem();
    if (!record && failure) return recordUnplanned(deps, request, failure);
    return record?.execution === request.execution
      ? { ...endOf(record), isFirst: false }
      : { run, state: 'unknown', isFirst: false };
  }

  const { command } = record;
  if (failure && command) await step('cancel the command', () => commands.cancel(command));
  const grants = await step('find unrecorded grants', () => grantsOf(deps, record));
  const kept: PlannedRun['grants'] = [];
  for (const grant of grants ?? record.grants) {
    const revoked = await step('revoke a grant', async () => {
      await keys.revoke(grant);
      return true;
    });
    if (!revoked) kept.push(grant);
  }
  // Of a run that is only planned no host has heard.
  const committed =
    failure && record.kind === 'backup' && record.state !== 'planned'
      ? await step('adopt or remove the backup', () => adoptOrRemove(deps, record))
      : undefined;
  if (!failure && record.kind === 'backup')
    await step('end uploads', () => deps.repository.abortUploads(backupPrefix(record)));
  await step('release the lease', () => releaseLease(deps, record.cluster, request));

  // What failed came after the backup was recorded, such as an earlier try to settle: there is nothing that anybody has to mend.
  const error = committed?.wasRecorded ? undefined : failure?.code;
  const detail = failure && [failure.detail, committed?.words].filter(Boolean).join(' — ');
  const changes: RunChanges = {
    endedAt: clock.now().toISOString(),
    grants: kept,
    lent: null,
    ...(error && { error }),
    ...(detail !== undefined && { detail }),
    ...(request.answer && { answer: z.encode(answerSchema, request.answer) }),
  };
  const ended = await step('mark the run', () =>
    runs.transition(run, transitions[committed?.wasRecorded ? 'succeeded' : outcome], changes),
  );
  if (ended?.kind === 'refused' && (record.grants.length > 0 || record.lent))
    await step('forget the grants', () => runs.setGrants(run, kept));
  retryOnProblem();
  const final = ended && ended.kind !== 'unknown' ? ended.run : record;
  log.info('run-settled', {
    run,
    cluster: final.cluster,
    state: final.state,
    isFirst: ended?.kind === 'done',
    error: final.error,
    detail: final.detail,
  });
  return {
    ...endOf(final),
    isFirst: ended?.kind === 'done',
    ...(request.answer?.kind === 'backup' && { storedBytes: request.answer.storedBytes }),
  };
};

const endOf = ({ run, state, kind, cluster, error, detail }: RunRecord): Omit<SettledRun, 'isFirst'> => ({
  run,
  state,
  kind,
  ...(cluster && { cluster }),
  ...(error && { error }),
  ...(detail !== undefined && { detail }),
});

/**
 * Writes down a run that ended before its plan was written, so that people see it where they look for runs. A plan that was written
 * at the same moment is settled instead.
 */
const recordUnplanned = async (
  deps: SettleRunDeps,
  request: SettleRequest,
  { code, detail }: NamedFailure,
): Promise<SettledRun> => {
  const { clusters, runs, clock, log, backupStateMachine } = deps;
  const { run, execution, outcome } = request;
  const cluster = request.cluster && (await clusters.get(request.cluster))?.cluster;
  const isBackup = execution.startsWith(`${backupStateMachine.replace(':stateMachine:', ':execution:')}:`);
  const endedAt = clock.now().toISOString();
  const record: UnplannedRun = {
    run,
    ...(cluster && { cluster }),
    kind: isBackup ? 'backup' : 'restore',
    state: code === 'BackupInProgress' ? 'refused' : outcome === 'aborted' ? 'aborted' : 'failed',
    execution,
    startedAt: request.startedAt ?? endedAt,
    endedAt,
    error: code,
    detail,
  };
  const inTheWay = await runs.recordUnplanned(record);
  if (inTheWay) return settleRun(deps, request);
  log.info('run-settled', { run, cluster, state: record.state, isFirst: true, error: code, detail });
  return { ...endOf(record), isFirst: true };
};

/** A plan that died between making a grant and writing it down left it under its name. */
const grantsOf = async ({ keys, chains }: SettleRunDeps, record: PlannedRun): Promise<PlannedRun['grants']> => {
  if (record.state !== 'planned' || record.grants.length > 0) return record.grants;
  const chain = await chains.chain(record.cluster, record.chain);
  const [key] = chain ? keysLeftIn(chain.keys) : [];
  const found = await keys.findGrants(key?.kmsKey ?? keys.dataKey, record.cluster);
  return found
    .filter(({ name }) => name === grantName(record.run, record.attempt))
    .map(({ kmsKey, grant }) => ({ kmsKey, grant }));
};

/** By whatever token the run holds it with: a plan that was tried again may have got one that its record does not know. */
const releaseLease = async (
  { leases }: SettleRunDeps,
  cluster: ClusterId,
  { run, execution }: Pick<SettleRequest, 'run' | 'execution'>,
): Promise<void> => {
  const lease = await leases.get(cluster);
  if (lease?.held && lease.run === run && lease.execution === execution) await leases.release(cluster, lease.token);
};

interface Committed {
  /** What was found, for people. */
  readonly words: string;
  /** It had been recorded before the run was settled. */
  readonly wasRecorded: boolean;
}

/** A backup that was committed is kept, and recorded if it still can be; anything else of it is removed. */
const adoptOrRemove = async (
  { chains, repository, clock, log }: SettleRunDeps,
  record: PlannedRun,
): Promise<Committed | undefined> => {
  const notRecorded = (words: string): Committed => ({ words, wasRecorded: false });
  const { cluster, backup, run, fencingToken } = record;
  const removed = await removeUncommitted(repository, record, clock.now());
  if (removed !== 'committed') {
    if (removed > 0) log.info('leftovers-removed', { cluster, backup, removed });
    return undefined;
  }
  const found = await readManifest(repository, record);
  const fault = found.kind === 'found' ? await objectsFault(repository, found.manifest) : undefined;
  if (found.kind !== 'found' || fault) {
    const detail = fault?.detail ?? (found.kind === 'invalid' ? found.detail : 'its manifest is gone');
    log.warn('manifest-not-adopted', { cluster, backup, error: fault?.code ?? 'ManifestInvalid', detail });
    return notRecorded(`backup ${backup} was committed but cannot be recorded: ${detail}`);
  }
  if (fencingToken === undefined || found.manifest.fencingToken !== fencingToken)
    return notRecorded(`backup ${backup} was committed under another lease; the next plan looks at it`);
  try {
    const { isNew } = await appendManifest(chains, found, { run, token: fencingToken });
    if (isNew) log.warn('manifest-adopted', { cluster, backup });
    return isNew
      ? notRecorded(`backup ${backup} was committed nevertheless and is recorded`)
      : { words: `backup ${backup} was recorded before that`, wasRecorded: true };
  } catch (thrown) {
    const { code, detail, retryable } = asRedoubtError(thrown);
    if (code !== 'LeaseLost' && code !== 'CatalogConflict' && retryable) throw thrown;
    log.warn('manifest-not-adopted', { cluster, backup, error: code, detail });
    return notRecorded(`backup ${backup} was committed but is not recorded: ${detail}`);
  }
};
