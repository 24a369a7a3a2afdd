import type { CommandRecord, PlannedRun, RunRecord, UnplannedRun } from '../catalog-records.ts';
import type { ClusterId, RunId } from '../ids.ts';
import type { RunTransition } from '../run-transitions.ts';

export type RunChanges = Partial<
  Pick<PlannedRun, 'endedAt' | 'command' | 'grants' | 'lent' | 'error' | 'detail' | 'answer'>
>;

export type TransitionOutcome =
  | { readonly kind: 'done'; readonly run: PlannedRun }
  /** The run is in a state the transition does not start from; it is unchanged. */
  | { readonly kind: 'refused'; readonly run: RunRecord }
  | { readonly kind: 'unknown' };

/**
 * The runs, one for each execution. A change of state is one conditional write that knows its legal predecessors
 * (`run-transitions.ts`). Every method throws `CatalogUnavailable` where the catalog does not answer.
 */
export interface Runs {
  /**
   * Writes the run's plan; over an earlier plan of the same run only where `replan` may start from its state, and never over a run
   * of another execution: a run's execution stays the one that planned it first.
   */
  plan(record: PlannedRun & { readonly state: 'planned' }): Promise<TransitionOutcome>;
  /** Writes down a run that ended before it was planned, unless one of its name is there: then that one is answered. */
  recordUnplanned(record: UnplannedRun): Promise<RunRecord | undefined>;
  transition(run: RunId, transition: RunTransition, changes?: RunChanges): Promise<TransitionOutcome>;
  /**
   * Which grants the run still has to give back, whatever its state; the keys that it was lent are forgotten. `unknown` runs are
   * ignored.
   */
  setGrants(run: RunId, grants: PlannedRun['grants']): Promise<void>;
  /** Reads its own writes. */
  get(run: RunId): Promise<RunRecord | undefined>;
  /** Newest first, of no known cluster where none is named; may miss one that started a moment ago. */
  list(cluster: ClusterId | undefined, limit: number): Promise<readonly RunRecord[]>;
  /** Every planned run of the cluster, newest first; may miss one that started a moment ago. */
  all(cluster: ClusterId): Promise<readonly PlannedRun[]>;
  /** Remembers which run a command belongs to, and the command in its run; refused where the run has ended. */
  linkCommand(record: CommandRecord): Promise<TransitionOutcome>;
  commandOf(command: string): Promise<CommandRecord | undefined>;
}
