import { isPlanned, type RunRecord } from '#core/catalog-records.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { Commands } from '#core/ports/commands.ts';
import type { Keys } from '#core/ports/keys.ts';
import type { Runs } from '#core/ports/runs.ts';
import { isEnded } from '#core/run-transitions.ts';

export interface EndAbandonedRunDeps {
  readonly runs: Runs;
  readonly keys: Keys;
  readonly commands: Commands;
  readonly clock: Clock;
}

/**
 * Ends a run whose execution has ended without settling it: its command is cancelled, its grants are revoked, and it is marked
 * aborted. What it left in the repository is adopted or removed by whoever plans next (`adopt-manifests.ts`).
 */
export const endAbandonedRun = async (
  { runs, keys, commands, clock }: EndAbandonedRunDeps,
  { run, execution }: Pick<RunRecord, 'run' | 'execution'>,
  reason: string,
): Promise<void> => {
  const record = await runs.get(run);
  if (!record || !isPlanned(record) || record.execution !== execution) return;
  if (record.command && !isEnded(record.state)) await commands.cancel(record.command);
  for (const grant of record.grants) await keys.revoke(grant);
  if (record.grants.length > 0 || record.lent) await runs.setGrants(run, []);
  await runs.transition(run, 'abort', { endedAt: clock.now().toISOString(), error: 'RunCancelled', detail: reason });
};
