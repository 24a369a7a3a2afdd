import { asRedoubtError, RedoubtError } from '#core/errors.ts';
import type { ChainId, ClusterId, RunId } from '#core/ids.ts';
import { runIdSchema } from '#core/ids.ts';
import { withKeys } from '#core/manifest.ts';
import { chainPrefix, isManifestKey } from '#core/object-keys.ts';
import type { Repository, StoredVersion } from '#core/ports/repository.ts';
import { tombstoneTime } from '#core/tombstone.ts';
import type { Shredding } from '#core/wrapped-key.ts';
import { inParallel } from '../runtime/in-parallel.ts';

const IN_PARALLEL = 8;

export interface ShreddedManifests {
  /** Whose keys went now. */
  readonly manifests: number;
  /** Versions that were removed, with the keys in them. */
  readonly versions: number;
  /** The runs that wrote the manifests: their instructions hold keys as well. */
  readonly runs: readonly RunId[];
}

/**
 * Takes the keys out of every manifest of the chain, recorded or not, and removes every other version of them: what was there
 * before the keys went, and what somebody had removed. The manifests stay, so that a catalog made anew knows the chain.
 */
export const shredManifests = async (
  repository: Repository,
  cluster: ClusterId,
  chain: ChainId,
  shredded: Shredding,
): Promise<ShreddedManifests> => {
  const isManifest = ({ key }: StoredVersion) => isManifestKey(key);
  const versionsOf = async () => (await repository.versions(chainPrefix(cluster, chain))).filter(isManifest);
  const keys = [...new Set((await versionsOf()).map(({ key }) => key))];
  const outcomes = await inParallel(keys, IN_PARALLEL, (key) => shredManifest(repository, key, shredded));
  // Listed again: the versions that were just replaced are among them now.
  const isKept = ({ isLatest, isMarker }: StoredVersion) => isLatest && !isMarker;
  const older = (await versionsOf()).filter((version) => !isKept(version));
  // One that cannot be removed yet, for an Object Lock, keeps none of the others.
  const failures = await inParallel(older, IN_PARALLEL, (version) =>
    repository.removeVersion(version).then(
      () => undefined,
      (error: unknown) => asRedoubtError(error),
    ),
  );
  const failure = failures.find((error) => error !== undefined);
  if (failure) throw failure;
  return {
    manifests: outcomes.filter(({ isChanged }) => isChanged).length,
    versions: older.filter(({ isMarker }) => !isMarker).length,
    runs: outcomes.flatMap(({ run }) => run ?? []),
  };
};

interface Outcome {
  readonly isChanged: boolean;
  readonly run?: RunId;
}

const shredManifest = async (repository: Repository, key: string, shredded: Shredding): Promise<Outcome> => {
  // Twice: somebody may re-wrap it at this moment.
  for (let tries = 0; tries < 2; tries += 1) {
    const stored = await repository.read(key);
    if (!stored || tombstoneTime(stored.text)) return { isChanged: false };
    const manifest = objectIn(stored.text);
    if (!manifest) {
      // No manifest, then; but whatever it is, it may hold what a manifest holds.
      await repository.removeVersion({ key });
      return { isChanged: true };
    }
    const { data: run } = runIdSchema.safeParse(manifest.run);
    const found = { ...(run && { run }) };
    const { keys } = manifest;
    if (typeof keys === 'object' && keys !== null && Object.keys(keys).join() === 'shredded')
      return { isChanged: false, ...found };
    if ((await repository.replace(key, withKeys(stored.text, { shredded }), stored.etag)) === 'replaced')
      return { isChanged: true, ...found };
  }
  throw new RedoubtError('CatalogConflict', `${key} was changed at the same moment`);
};

const objectIn = (text: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
};
