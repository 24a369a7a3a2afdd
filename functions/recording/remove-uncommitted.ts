import { RedoubtError } from '#core/errors.ts';
import { type BackupAddress, backupPrefix, manifestKey } from '#core/object-keys.ts';
import type { Repository } from '#core/ports/repository.ts';
import { encodeTombstone, tombstoneTime } from '#core/tombstone.ts';

/**
 * Removes what lies under a backup's prefix, uploads included, unless the backup was committed: then nothing is touched. A tombstone is
 * put in the place of the manifest first, so that nobody commits the backup any more, however late. How many objects were removed.
 */
export const removeUncommitted = async (
  repository: Repository,
  at: BackupAddress,
  now: Date,
): Promise<'committed' | number> => {
  const tombstone = manifestKey(at);
  if (!(await isGivenUp(repository, tombstone, now))) return 'committed';
  const prefix = backupPrefix(at);
  await repository.abortUploads(prefix);
  // Looked at after that: an upload that was ended can no longer become an object, one that had ended is in the list now.
  const keys = (await repository.list(prefix)).filter((key) => key !== tombstone);
  await repository.remove(keys);
  return keys.length;
};

/** Puts the tombstone; `false` where there is a manifest. */
const isGivenUp = async (repository: Repository, key: string, now: Date): Promise<boolean> => {
  // Twice: an old tombstone may be taken away at this moment.
  for (let tries = 0; tries < 2; tries += 1) {
    if ((await repository.create(key, encodeTombstone(now))) === 'created') return true;
    const stored = await repository.read(key);
    if (stored) return tombstoneTime(stored.text) !== undefined;
  }
  throw new RedoubtError('RepositoryUnavailable', `${key} is there and is not`);
};
