import { type Manifest, manifestDigestInput, manifestObjects, manifestSchema } from '#core/manifest.ts';
import { type BackupAddress, backupPrefix, manifestKey } from '#core/object-keys.ts';
import type { Repository, StoredText } from '#core/ports/repository.ts';
import { tombstoneTime } from '#core/tombstone.ts';
import { keysLeftIn } from '#core/wrapped-key.ts';
import { sha256Of } from '../runtime/sha256-of.ts';

export interface FoundManifest {
  readonly manifest: Manifest;
  readonly key: string;
  /** As it lies there, and its ETag. */
  readonly stored: StoredText;
  /** Of everything in it but the wrapped keys: `manifestDigestInput`. */
  readonly sha256: string;
}

export type ReadManifest =
  | { readonly kind: 'absent' }
  /** A tombstone lies there: it was given up, at that time. */
  | { readonly kind: 'given-up'; readonly at: Date }
  | { readonly kind: 'invalid'; readonly detail: string }
  | ({ readonly kind: 'found' } & FoundManifest);

/** Why the manifest does not belong where it lies: it may name no other backup's objects, nor another chain's key. */
const strangeness = (manifest: Manifest, at: BackupAddress): string | undefined => {
  const isHere =
    manifest.cluster === at.cluster &&
    manifest.chain === at.chain &&
    manifest.seq === at.seq &&
    manifest.backup === at.backup;
  if (!isHere)
    return `it says it is ${manifest.cluster}/${manifest.chain}/${manifest.seq}-${manifest.backup}, and lies elsewhere`;
  const foreign = manifestObjects(manifest).find((object) => !object.key.startsWith(backupPrefix(at)));
  if (foreign) return `it names ${foreign.key}, which is not one of its own objects`;
  for (const key of keysLeftIn(manifest.keys)) {
    if (key.context.cluster !== at.cluster || key.context.chain !== at.chain)
      return `its ${key.context.purpose} key is of ${key.context.cluster}/${key.context.chain}`;
  }
  return undefined;
};

/** The manifest of the backup at `at`, if it was committed. Whether its objects are there is another question. */
export const readManifest = async (repository: Repository, at: BackupAddress): Promise<ReadManifest> => {
  const key = manifestKey(at);
  const stored = await repository.read(key);
  if (!stored) return { kind: 'absent' };
  const givenUp = tombstoneTime(stored.text);
  if (givenUp) return { kind: 'given-up', at: givenUp };
  let json: unknown;
  try {
    json = JSON.parse(stored.text);
  } catch {
    return { kind: 'invalid', detail: `${key} is not JSON` };
  }
  const parsed = manifestSchema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return { kind: 'invalid', detail: `${key}: ${issue?.path.join('.')}: ${issue?.message}` };
  }
  const strange = strangeness(parsed.data, at);
  if (strange) return { kind: 'invalid', detail: `${key}: ${strange}` };
  return { kind: 'found', manifest: parsed.data, key, stored, sha256: sha256Of(manifestDigestInput(stored.text)) };
};
