import { createHash } from 'node:crypto';
import { backupPrefix, manifestKey } from '#core/object-keys.ts';
import type { Repository } from '#core/ports/repository.ts';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** The control plane's view of the bucket, in memory. */
export interface InMemoryBucket extends Repository {
  readonly objects: Map<string, string>;
  /** Keys of multipart uploads that are neither completed nor aborted. */
  readonly uploads: Set<string>;
}

export const inMemoryBucket = (): InMemoryBucket => {
  const objects = new Map<string, string>();
  const uploads = new Set<string>();
  const keysUnder = (prefix: string) => [...objects.keys()].filter((key) => key.startsWith(prefix)).sort();
  const abortUploads = async (prefix: string) => {
    const found = [...uploads].filter((key) => key.startsWith(prefix));
    for (const key of found) uploads.delete(key);
    return found.length;
  };
  return {
    objects,
    uploads,
    read: async (key) => {
      const text = objects.get(key);
      return text === undefined ? undefined : { text, sha256: sha256(text) };
    },
    write: async (key, text) => {
      objects.set(key, text);
    },
    look: async ({ key }) => {
      const text = objects.get(key);
      return text === undefined ? undefined : { bytes: Buffer.byteLength(text), sha256: sha256(text) };
    },
    list: async (prefix) => keysUnder(prefix),
    folders: async (prefix, after = '') => {
      const folders = keysUnder(prefix).flatMap((key) => /^[^/]*\//.exec(key.slice(prefix.length)) ?? []);
      return [...new Set(folders)].filter((folder) => folder > after);
    },
    abortUploads,
    removeUncommitted: async (at) => {
      if (objects.has(manifestKey(at))) return 'committed';
      await abortUploads(backupPrefix(at));
      const keys = keysUnder(backupPrefix(at));
      for (const key of keys) objects.delete(key);
      return keys.length;
    },
  };
};
