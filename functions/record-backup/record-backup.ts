import { z } from 'zod';
import { backupAnswerSchema } from '#core/agent-protocol.ts';
import { isPlanned } from '#core/catalog-records.ts';
import { RedoubtError } from '#core/errors.ts';
import { runIdSchema } from '#core/ids.ts';
import { canonicalJson } from '#core/manifest.ts';
import { manifestKey } from '#core/object-keys.ts';
import type { Chains } from '#core/ports/chains.ts';
import type { Log } from '#core/ports/log.ts';
import type { Repository } from '#core/ports/repository.ts';
import type { Runs } from '#core/ports/runs.ts';
import { appendManifest } from '../recording/append-manifest.ts';
import { objectsFault } from '../recording/objects-fault.ts';
import { readManifest } from '../recording/read-manifest.ts';

export const recordBackupInputSchema = z.object({ run: runIdSchema, answer: backupAnswerSchema });
export type RecordBackupInput = z.output<typeof recordBackupInputSchema>;

export interface RecordBackupDeps {
  readonly runs: Runs;
  readonly chains: Chains;
  readonly repository: Repository;
  readonly log: Log;
}

/** For people who look at the execution. */
export interface RecordedBackup {
  readonly backup: string;
  readonly kind: 'full' | 'incremental';
  readonly chain: string;
  readonly seq: number;
  readonly fromLsn: string;
  readonly toLsn: string;
  readonly storedBytes: number;
  readonly streamBytes: number;
}

/**
 * Makes the run's backup available. The agent's answer only says where to look: what is recorded is what lies in the
 * repository, once its digest is the answered one, every object is there, and the run still holds the cluster. May be called
 * again after a crash.
 */
export const recordBackup = async (deps: RecordBackupDeps, input: RecordBackupInput): Promise<RecordedBackup> => {
  const { runs, chains, repository, log } = deps;
  const { run, answer } = input;
  const record = await runs.get(run);
  if (!record || !isPlanned(record)) throw new RedoubtError('UnknownRun', `no run ${run} was planned`);
  if (record.kind !== 'backup' || record.fencingToken === undefined)
    throw new RedoubtError('InvalidInput', `run ${run} is a ${record.kind}`);
  const key = manifestKey(record);
  if (answer.manifestKey !== key)
    throw new RedoubtError('ManifestInvalid', `the host answered with ${answer.manifestKey}, asked for was ${key}`);
  const found = await readManifest(repository, record);
  if (found.kind === 'absent') throw new RedoubtError('ObjectMissing', `${key} is not in the repository`);
  if (found.kind === 'given-up')
    throw new RedoubtError('RunCancelled', `run ${run} was given up before it committed its backup`);
  if (found.kind === 'invalid') throw new RedoubtError('ManifestInvalid', found.detail);
  if (found.sha256 !== answer.manifestSha256)
    throw new RedoubtError('ObjectTampered', `${key} has another SHA-256 than what the host answered`);
  const { manifest } = found;
  if (manifest.run !== run || manifest.host !== record.host)
    throw new RedoubtError('ManifestInvalid', `${key} was written by run ${manifest.run} on ${manifest.host}`);
  if (manifest.fencingToken !== record.fencingToken)
    throw new RedoubtError(
      'LeaseLost',
      `${key} was written under lease ${manifest.fencingToken}, the run's is ${record.fencingToken}`,
    );
  // A manifest with other keys than the ones it was sealed with would make a chain that nothing opens.
  if (record.lent && canonicalJson(manifest.keys) !== canonicalJson(record.lent.keys))
    throw new RedoubtError('ManifestInvalid', `${key} does not hold the keys that run ${run} was given`);
  const fault = await objectsFault(repository, manifest);
  if (fault) throw new RedoubtError(fault.code, fault.detail);
  const { record: backup, isNew } = await appendManifest(chains, found, { run, token: record.fencingToken });
  log.info('backup-recorded', {
    cluster: backup.cluster,
    run,
    backup: backup.backup,
    isNew,
    toLsn: backup.toLsn.toString(),
    storedBytes: backup.storedBytes,
  });
  return {
    backup: backup.backup,
    kind: backup.kind,
    chain: backup.chain,
    seq: backup.seq,
    fromLsn: backup.fromLsn.toString(),
    toLsn: backup.toLsn.toString(),
    storedBytes: backup.storedBytes,
    streamBytes: backup.streamBytes,
  };
};
