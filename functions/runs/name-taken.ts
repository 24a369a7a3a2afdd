import { RedoubtError } from '#core/errors.ts';
import type { RunId } from '#core/ids.ts';

/**
 * A run's id is the name of its execution, which Step Functions keeps unique for one state machine only: a restore may be started
 * under the name of a backup, and must then touch nothing of it.
 */
export const nameTaken = (run: RunId, by: string): RedoubtError =>
  new RedoubtError('InvalidInput', `the name ${run} is taken by the execution ${by}; start it under another`);
