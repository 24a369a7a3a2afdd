import { backupIdSchema, type ChainId, type ClusterId } from '#core/ids.ts';
import { type BackupAddress, chainPrefix } from '#core/object-keys.ts';
import type { Repository } from '#core/ports/repository.ts';

const FOLDER = /^(\d+)-(.+)\/$/;

/** Where a chain may have manifests: every attempt at every place, whether the catalog knows it or not. */
export const manifestsOfChain = async (
  repository: Repository,
  cluster: ClusterId,
  chain: ChainId,
): Promise<readonly BackupAddress[]> => {
  const folders = await repository.folders(chainPrefix(cluster, chain));
  return folders.flatMap((folder) => {
    const [, place, name] = FOLDER.exec(folder) ?? [];
    const backup = backupIdSchema.safeParse(name);
    return backup.success ? [{ cluster, chain, seq: Number(place), backup: backup.data }] : [];
  });
};
