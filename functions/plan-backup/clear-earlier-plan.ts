import type { PlannedRun } from '#core/catalog-records.ts';
import type { RunId } from '#core/ids.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { Keys } from '#core/ports/keys.ts';
import type { Log } from '#core/ports/log.ts';
import type { Repository } from '#core/ports/repository.ts';
import type { Runs } from '#core/ports/runs.ts';
import { removeUncommitted } from '../recording/remove-uncommitted.ts';
import { earlierRun } from '../runs/earlier-run.ts';

export interface ClearEarlierPlanDeps {
  readonly runs: Runs;
  readonly keys: Keys;
  readonly repository: Repository;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Takes back what this run's earlier plan handed out, before another plan of the same run overwrites the record of it: the
 * host refused (its agent has answered, so it no longer writes), or the function is tried again. The earlier plan, if any.
 */
export const clearEarlierPlan = async (
  { runs, keys, repository, clock, log }: ClearEarlierPlanDeps,
  run: RunId,
  execution: string,
): Promise<PlannedRun | undefined> => {
  const earlier = await earlierRun(runs, run, execution);
  if (!earlier) return undefined;
  for (const grant of earlier.grants) await keys.revoke(grant);
  // A host that was never asked left nothing, and the next plan may well be of the same second and have the same id.
  const removed = earlier.state === 'planned' ? 0 : await removeUncommitted(repository, earlier, clock.now());
  log.info('attempt-cleared', { run, attempt: earlier.attempt, removed });
  return earlier;
};
