import type { RunRecord } from '#core/catalog-records.ts';
import type { RunId } from '#core/ids.ts';
import type { Runs } from '#core/ports/runs.ts';
import { nameTaken } from './name-taken.ts';

/** What this very execution planned before, if anything. Throws `InvalidInput` where the run is another execution's. */
export const earlierRun = async (runs: Runs, run: RunId, execution: string): Promise<RunRecord | undefined> => {
  const earlier = await runs.get(run);
  if (earlier && earlier.execution !== execution) throw nameTaken(run, earlier.execution);
  return earlier;
};
