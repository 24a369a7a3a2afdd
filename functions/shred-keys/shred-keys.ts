import { asRedoubtError, RedoubtError } from '#core/errors.ts';
import type { ShredAnswer, ShredRequest } from '#core/key-requests.ts';
import type { Chains } from '#core/ports/chains.ts';
import type { Executions } from '#core/ports/executions.ts';
import type { Leases } from '#core/ports/leases.ts';
import type { Log } from '#core/ports/log.ts';
import type { Repository } from '#core/ports/repository.ts';
import { isEnded } from '#core/run-transitions.ts';
import { keysLeftIn, type Shredding } from '#core/wrapped-key.ts';
import { type EndAbandonedRunDeps, endAbandonedRun } from '../runs/end-abandoned-run.ts';
import { removeInstructions } from './remove-instructions.ts';
import { shredManifests } from './shred-manifests.ts';

export interface ShredKeysDeps extends EndAbandonedRunDeps {
  readonly chains: Chains;
  readonly leases: Leases;
  readonly executions: Executions;
  readonly repository: Repository;
  readonly log: Log;
}

/**
 * Makes a chain impossible to open, for ever: every copy of its wrapped keys goes, its data stays as noise until it expires.
 * The chain is invalidated first, in the catalog, so that from then on nobody plans with it; then the copies are removed from
 * the repository. It may be stopped anywhere and run again: what is gone is skipped, and it answers only once nothing is left.
 */
export const shredKeys = async (deps: ShredKeysDeps, request: ShredRequest): Promise<ShredAnswer> => {
  const { repository, log } = deps;
  const { cluster, chain } = request;
  const backups = await checkRequest(deps, request);
  await endRunsOf(deps, request);
  const shredded = await invalidate(deps, request);

  const problems: RedoubtError[] = [];
  const step = async <Result>(act: () => Promise<Result>, otherwise: Result): Promise<Result> => {
    try {
      return await act();
    } catch (thrown) {
      problems.push(asRedoubtError(thrown));
      return otherwise;
    }
  };
  const none = { manifests: 0, versions: 0, runs: [] };
  const fromManifests = await step(() => shredManifests(repository, cluster, chain, shredded), none);
  const runs = [...fromManifests.runs, ...(await runsThatMayHoldKeys(deps, request))];
  const instructions = await step(() => removeInstructions(repository, cluster, chain, runs), 0);
  const { manifests, versions } = fromManifests;
  const removed = { manifests, versions, instructions };
  log.warn('keys-shredded', { cluster, chain, ...shredded, ...removed, complete: problems.length === 0 });
  const [problem] = problems;
  if (problem)
    throw new RedoubtError(
      problem.code,
      `chain ${chain} is invalidated, but copies of its wrapped keys are left; run it again: ${problem.detail}`,
      { cause: problem },
    );
  return { chain, shredded, backups, ...removed };
};

/** How many backups are lost by it. */
const checkRequest = async ({ chains }: ShredKeysDeps, request: ShredRequest): Promise<number> => {
  const { cluster, chain, confirm, last } = request;
  const known = await chains.all(cluster);
  const record = known.chains.find((one) => one.chain === chain);
  if (!record) throw new RedoubtError('UnknownBackup', `the cluster ${cluster} has no chain ${chain}`);
  const count = (of: string) => known.backups.filter((backup) => backup.chain === of).length;
  if (confirm !== chain)
    throw new RedoubtError(
      'ConfirmationMissing',
      `shredding makes the ${count(chain)} backups of chain ${chain} impossible to restore, for ever; it needs --confirm ${chain}`,
    );
  const others = known.chains.filter(
    (one) => one.chain !== chain && keysLeftIn(one.keys).length > 0 && count(one.chain) > 0,
  );
  if (others.length === 0 && keysLeftIn(record.keys).length > 0 && !last)
    throw new RedoubtError(
      'ConfirmationMissing',
      `chain ${chain} is the only one of ${cluster} that can be restored; take a full first, or add --last`,
    );
  return count(chain);
};

/** One that fell back to a full was asked with another chain before than its record says. */
const runsThatMayHoldKeys = async ({ runs }: ShredKeysDeps, { cluster, chain }: ShredRequest) =>
  (await runs.all(cluster)).filter((run) => run.chain === chain || run.attempt > 1).map(({ run }) => run);

/** Throws `BackupInProgress` where a run that holds the chain's keys is alive; one that is not is ended. */
const endRunsOf = async (deps: ShredKeysDeps, { cluster, chain }: ShredRequest): Promise<void> => {
  const holding = (await deps.runs.all(cluster)).filter(
    (run) => run.chain === chain && (!isEnded(run.state) || run.lent || run.grants.length > 0),
  );
  for (const record of holding) {
    if (!(await deps.executions.hasEnded(record.execution)))
      throw new RedoubtError(
        'BackupInProgress',
        `run ${record.run} works with chain ${chain}; let it end first, or stop it`,
      );
    await endAbandonedRun(deps, record, `its execution had ended when the keys of chain ${chain} were shredded`);
  }
};

const invalidate = async (deps: ShredKeysDeps, request: ShredRequest): Promise<Shredding> => {
  const { chains, leases, executions, clock } = deps;
  const { cluster, chain, by, reason } = request;
  const record = await chains.chain(cluster, chain);
  if (record && 'shredded' in record.keys) return record.keys.shredded;
  const lease = await leases.get(cluster);
  const busy = () =>
    new RedoubtError('BackupInProgress', `a run holds ${cluster}: ${lease?.run ?? 'it has just begun'}`);
  if (lease?.held && !(await executions.hasEnded(lease.execution))) throw busy();
  const shredded: Shredding = { at: clock.now().toISOString(), by, ...(reason !== undefined && { reason }) };
  if (!(await chains.shred({ cluster, chain, shredded, lease }))) throw busy();
  return shredded;
};
