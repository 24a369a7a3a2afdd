import type { Lease } from '#core/catalog-records.ts';
import { RedoubtError } from '#core/errors.ts';
import type { ClusterId, RunId } from '#core/ids.ts';
import type { Executions } from '#core/ports/executions.ts';
import type { Leases } from '#core/ports/leases.ts';
import type { Log } from '#core/ports/log.ts';
import { type EndAbandonedRunDeps, endAbandonedRun } from './end-abandoned-run.ts';
import { LEASE_SECONDS } from './lease-seconds.ts';
import { nameTaken } from './name-taken.ts';

export interface TakeLeaseDeps extends EndAbandonedRunDeps {
  readonly leases: Leases;
  readonly executions: Executions;
  readonly log: Log;
}

/**
 * Makes `run` the cluster's one writer. A lease whose holder's execution has ended is taken over, and the holder's run ended.
 * Throws `BackupInProgress`, naming the run, where the holder is alive, and `InvalidInput` where the
 * holder is another execution of this name.
 */
export const takeLease = async (
  deps: TakeLeaseDeps,
  cluster: ClusterId,
  run: RunId,
  execution: string,
): Promise<Lease> => {
  const request = { cluster, run, execution, now: deps.clock.now(), seconds: LEASE_SECONDS };
  const first = await deps.leases.acquire(request);
  if (first.kind === 'acquired') return first.lease;
  const holder = first.lease;
  const inProgress = (by: Lease) =>
    new RedoubtError('BackupInProgress', `run ${by.run} holds ${cluster} since ${by.acquiredAt}`);
  if (holder.run === run && holder.execution !== execution) throw nameTaken(run, holder.execution);
  if (!(await deps.executions.hasEnded(holder.execution))) throw inProgress(holder);
  // Before the lease changes hands: if this fails, the next plan finds the same holder and tries again.
  await endAbandonedRun(deps, holder, `its execution had ended when ${run} took the cluster over`);
  const second = await deps.leases.takeOver(request, holder);
  if (second.kind === 'held') throw inProgress(second.lease);
  deps.log.warn('lease-taken-over', { cluster, run, from: holder.run, token: second.lease.token });
  return second.lease;
};
