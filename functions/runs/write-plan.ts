import type { PlannedRun } from '#core/catalog-records.ts';
import { RedoubtError } from '#core/errors.ts';
import type { Runs } from '#core/ports/runs.ts';
import { nameTaken } from './name-taken.ts';

/** Throws `RunCancelled` where the run has ended, and `InvalidInput` where it is another execution's. */
export const writePlan = async (runs: Runs, record: PlannedRun & { readonly state: 'planned' }): Promise<void> => {
  const planned = await runs.plan(record);
  if (planned.kind === 'refused' && planned.run.execution !== record.execution)
    throw nameTaken(record.run, planned.run.execution);
  if (planned.kind !== 'done') throw new RedoubtError('RunCancelled', `run ${record.run} has ended already`);
};
