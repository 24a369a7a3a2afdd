import { isPlanned, type PlannedRun } from '#core/catalog-records.ts';
import { RedoubtError } from '#core/errors.ts';
import type { RunId } from '#core/ids.ts';
import type { Runs } from '#core/ports/runs.ts';
import { nameTaken } from './name-taken.ts';

/**
 * What this very execution planned before, if anything. Throws `InvalidInput` where the run is another execution's, and
 * `RunCancelled` where it has ended without a plan.
 */
export const earlierRun = async (runs: Runs, run: RunId, execution: string): Promise<PlannedRun | undefined> => {
  const earlier = await runs.get(run);
  if (earlier && earlier.execution !== execution) throw nameTaken(run, earlier.execution);
  if (earlier && !isPlanned(earlier)) throw new RedoubtError('RunCancelled', `run ${run} has ended already`);
  return earlier;
};
