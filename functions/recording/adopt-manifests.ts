import type { BackupRecord, ChainHead, Lease } from '#core/catalog-records.ts';
import { RedoubtError } from '#core/errors.ts';
import { backupIdSchema, type ChainId, type ClusterId, chainIdSchema } from '#core/ids.ts';
import { type BackupAddress, chainsPrefix, manifestKey, placePrefix } from '#core/object-keys.ts';
import type { Chains } from '#core/ports/chains.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { Log } from '#core/ports/log.ts';
import type { Repository } from '#core/ports/repository.ts';
import { inParallel } from '../runtime/in-parallel.ts';
import { TASK_TIMEOUT_SECONDS } from '../runtime/task-timeout.ts';
import { appendManifest } from './append-manifest.ts';
import { objectsFault } from './objects-fault.ts';
import { type FoundManifest, readManifest } from './read-manifest.ts';
import { removeUncommitted } from './remove-uncommitted.ts';

const IN_PARALLEL = 8;

/** No agent lives longer than its task may take; until then it could still commit where nothing lies. */
const TOMBSTONE_MILLISECONDS = TASK_TIMEOUT_SECONDS * 1000;

export interface AdoptDeps {
  readonly chains: Chains;
  readonly repository: Repository;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Brings the catalog up to the repository, which is the truth: records every committed backup at the next place of the open
 * chain, then those of newer chains, and removes what dead runs left at these places without a manifest. So it does with uploads that
 * nobody completes: they may be all that is left of a run, and no folder shows them. Only for who holds the lease. A catalog that was
 * lost is recreated by the same walk, chain by chain. Returns the head after it.
 *
 * A run that lost its lease may still be writing at such a place. Nothing bad comes of it: its task has ended, so its next
 * heartbeat is refused and it stops; and it can no longer commit, because a tombstone lies in the place of its manifest.
 */
export const adoptManifests = async (
  deps: AdoptDeps,
  cluster: ClusterId,
  lease: Lease,
): Promise<{ readonly head: ChainHead | undefined; readonly adopted: readonly BackupRecord[] }> => {
  const adopted: BackupRecord[] = [];
  const uploads = await deps.repository.abortUploads(chainsPrefix(cluster));
  if (uploads > 0) deps.log.info('leftovers-removed', { cluster, uploads });
  for (;;) {
    const head = await deps.chains.head(cluster);
    const record =
      (await adoptNextPlace(deps, cluster, head, lease)) ?? (await adoptNewerChain(deps, cluster, head, lease));
    if (!record) return { head, adopted };
    adopted.push(record);
  }
};

const adoptNextPlace = async (deps: AdoptDeps, cluster: ClusterId, head: ChainHead | undefined, lease: Lease) =>
  head && adoptAt(deps, cluster, head.chain, head.tip.seq + 1, lease);

const adoptNewerChain = async (deps: AdoptDeps, cluster: ClusterId, head: ChainHead | undefined, lease: Lease) => {
  const folders = await deps.repository.folders(chainsPrefix(cluster), head && `${head.chain}/`);
  for (const folder of folders) {
    const chain = chainIdSchema.safeParse(folder.slice(0, -1));
    if (!chain.success) continue;
    const record = await adoptAt(deps, cluster, chain.data, 0, lease);
    if (record) return record;
  }
  return undefined;
};

/** The attempts at one place, from the names of their folders. */
const attemptsAt = async (
  { repository }: AdoptDeps,
  cluster: ClusterId,
  chain: ChainId,
  seq: number,
): Promise<readonly BackupAddress[]> => {
  const folders = await repository.folders(placePrefix(cluster, chain, seq));
  return folders.flatMap((folder) => {
    const backup = backupIdSchema.safeParse(folder.slice(0, -1));
    return backup.success ? [{ cluster, chain, seq, backup: backup.data }] : [];
  });
};

const adoptAt = async (
  deps: AdoptDeps,
  cluster: ClusterId,
  chain: ChainId,
  seq: number,
  lease: Lease,
): Promise<BackupRecord | undefined> => {
  const { chains, repository, clock, log } = deps;
  const found: FoundManifest[] = [];
  const attempts = await attemptsAt(deps, cluster, chain, seq);
  await inParallel(attempts, IN_PARALLEL, async (at) => {
    const read = await readManifest(repository, at);
    if (read.kind === 'found') found.push(read);
    if (read.kind === 'invalid')
      log.warn('manifest-not-adopted', { cluster, backup: at.backup, error: 'ManifestInvalid', detail: read.detail });
    if (read.kind === 'absent' || read.kind === 'given-up') {
      const now = clock.now();
      const removed = await removeUncommitted(repository, at, now);
      log.info('leftovers-removed', { cluster, backup: at.backup, removed });
      if (read.kind === 'given-up' && now.getTime() - read.at.getTime() > TOMBSTONE_MILLISECONDS)
        await repository.remove([manifestKey(at)]);
    }
  });
  // The newest lease first: of two attempts at one place the older one's run had been given up.
  found.sort((a, b) => b.manifest.fencingToken - a.manifest.fencingToken);
  for (const candidate of found) {
    const { backup } = candidate.manifest;
    const fault = await objectsFault(repository, candidate.manifest);
    if (fault) {
      log.warn('manifest-not-adopted', { cluster, backup, error: fault.code, detail: fault.detail });
      continue;
    }
    try {
      const { record } = await appendManifest(chains, candidate, lease);
      log.warn('manifest-adopted', { cluster, backup });
      return record;
    } catch (error) {
      if (!(error instanceof RedoubtError) || error.code !== 'CatalogConflict') throw error;
      log.warn('manifest-not-adopted', { cluster, backup, error: error.code, detail: error.detail });
    }
  }
  return undefined;
};
