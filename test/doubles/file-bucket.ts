import { createHash } from 'node:crypto';
import type { Repository } from '#core/ports/repository.ts';
import type { FileRepository } from './file-repository.ts';

const sha256 = (body: Buffer): string => createHash('sha256').update(body).digest('hex');

/** The control plane's view of the bucket that agents write to; it keeps no versions. */
export const fileBucket = (files: FileRepository): Repository => {
  const keysUnder = (prefix: string) => files.keys().filter((key) => key.startsWith(prefix));
  return {
    read: async (key) => {
      const body = files.body(key);
      return body && { text: body.toString('utf8'), etag: sha256(body) };
    },
    write: async (key, text) => files.put(key, text),
    create: async (key, text) => {
      if (files.body(key) !== undefined) return 'exists';
      files.put(key, text);
      return 'created';
    },
    replace: async (key, text, etag) => {
      const now = files.body(key);
      if (now === undefined || sha256(now) !== etag) return 'changed';
      files.put(key, text);
      return 'replaced';
    },
    versions: async (prefix) => keysUnder(prefix).map((key) => ({ key, isLatest: true, isMarker: false })),
    removeVersion: async ({ key }) => files.remove(key),
    look: async (key) => {
      const body = files.body(key);
      return body && { bytes: body.length, sha256: sha256(body) };
    },
    list: async (prefix) => keysUnder(prefix),
    folders: async (prefix, after = '') => {
      const folders = keysUnder(prefix).flatMap((key) => /^[^/]*\//.exec(key.slice(prefix.length)) ?? []);
      return [...new Set(folders)].filter((folder) => folder > after);
    },
    abortUploads: async (prefix) => {
      const found = files.uploads().filter((key) => key.startsWith(prefix));
      for (const key of found) files.removeUpload(key);
      return found.length;
    },
    remove: async (keys) => {
      for (const key of keys) files.remove(key);
    },
  };
};
