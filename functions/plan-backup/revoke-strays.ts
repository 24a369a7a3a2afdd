import { asRedoubtError } from '#core/errors.ts';
import type { ClusterId, RunId } from '#core/ids.ts';
import type { Keys } from '#core/ports/keys.ts';
import type { Log } from '#core/ports/log.ts';
import type { Runs } from '#core/ports/runs.ts';
import { isEnded } from '#core/run-transitions.ts';
import { runOfGrant } from '../runs/grant-name.ts';

export interface RevokeStraysDeps {
  readonly runs: Runs;
  readonly keys: Keys;
  readonly log: Log;
  /** Beside `keys.dataKey`: what chains may be under. */
  readonly otherKeys: readonly string[];
}

/**
 * Takes back every grant of the cluster that belongs to no run that is going on: where a run's record was lost, with the catalog or
 * with its newest part, only KMS still knows the grant. For `run`, which holds the lease and has been lent nothing yet. Where KMS does
 * not answer, that is logged and left to the next plan: no backup is missed for it.
 */
export const revokeStrays = async (deps: RevokeStraysDeps, cluster: ClusterId, run: RunId): Promise<void> => {
  const { keys, otherKeys, log } = deps;
  for (const kmsKey of [keys.dataKey, ...otherKeys]) {
    try {
      await revokeStraysOf(deps, kmsKey, cluster, run);
    } catch (thrown) {
      const { code, detail } = asRedoubtError(thrown);
      log.warn('stray-grants-unknown', { cluster, run, kmsKey, error: code, detail });
    }
  }
};

const revokeStraysOf = async (
  { runs, keys, log }: RevokeStraysDeps,
  kmsKey: string,
  cluster: ClusterId,
  run: RunId,
): Promise<void> => {
  // Grants first, then runs: a run is written before it is lent anything, so whoever has a grant that is found here has a record by
  // now, a restore that begins at this moment included. A restore whose record was lost under it loses its grant too. No data depends
  // on it: either it has opened its keys already, or it fails by name, as it does where its host was not asked yet.
  for (const { name, ...grant } of await keys.findGrants(kmsKey, cluster)) {
    const of = runOfGrant(name);
    if (of === undefined) continue;
    const record = of === run ? undefined : await runs.get(of);
    if (record && !isEnded(record.state)) continue;
    await keys.revoke(grant);
    log.info('stray-grant-revoked', { cluster, run, of, kmsKey });
  }
};
