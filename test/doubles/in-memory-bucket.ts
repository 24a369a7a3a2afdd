import { createHash } from 'node:crypto';
import type { Repository, StoredVersion } from '#core/ports/repository.ts';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

interface Version {
  readonly key: string;
  readonly version: string;
  /** `undefined`: a delete marker. */
  readonly text: string | undefined;
}

/** What is there now; in a bucket with versions, whoever sets or deletes something leaves one behind. */
class VersionedObjects extends Map<string, string> {
  /** Oldest first. */
  history: Version[] = [];
  readonly #versioned: boolean;
  #made = 0;

  constructor(versioned: boolean) {
    super();
    this.#versioned = versioned;
  }

  override set(key: string, text: string): this {
    this.#note(key, text);
    return super.set(key, text);
  }

  override delete(key: string): boolean {
    if (!this.has(key)) return false;
    this.#note(key, undefined);
    return super.delete(key);
  }

  #note(key: string, text: string | undefined): void {
    this.#made += 1;
    if (!this.#versioned) this.history = this.history.filter((version) => version.key !== key);
    if (this.#versioned || text !== undefined) this.history.push({ key, version: `v${this.#made}`, text });
  }

  latest(key: string): Version | undefined {
    return this.history.findLast((version) => version.key === key);
  }

  /** For good: what was before it comes back. */
  removeVersion(key: string, version: string): void {
    this.history = this.history.filter((one) => one.key !== key || one.version !== version);
    const text = this.latest(key)?.text;
    if (text === undefined) super.delete(key);
    else super.set(key, text);
  }
}

/** The control plane's view of the bucket, in memory. */
export interface InMemoryBucket extends Repository {
  readonly objects: Map<string, string>;
  /** What S3 answers who has just written `key`. */
  readonly versionOf: (key: string) => string | undefined;
  /** Everything that can still be read, older versions included. */
  readonly everything: () => readonly string[];
  /** Keys of multipart uploads that are neither completed nor aborted. */
  readonly uploads: Set<string>;
}

export const inMemoryBucket = ({ versioned = true } = {}): InMemoryBucket => {
  const objects = new VersionedObjects(versioned);
  const uploads = new Set<string>();
  const keysUnder = (prefix: string) => [...objects.keys()].filter((key) => key.startsWith(prefix)).sort();
  const abortUploads = async (prefix: string) => {
    const found = [...uploads].filter((key) => key.startsWith(prefix));
    for (const key of found) uploads.delete(key);
    return found.length;
  };
  return {
    objects,
    versionOf: (key) => (versioned && objects.has(key) ? objects.latest(key)?.version : undefined),
    everything: () => objects.history.flatMap(({ text }) => text ?? []),
    uploads,
    read: async (key, version) => {
      const found = version
        ? objects.history.find((one) => one.key === key && one.version === version)?.text
        : objects.get(key);
      return found === undefined ? undefined : { text: found, etag: sha256(found) };
    },
    write: async (key, text) => {
      objects.set(key, text);
    },
    create: async (key, text) => {
      if (objects.has(key)) return 'exists';
      objects.set(key, text);
      return 'created';
    },
    replace: async (key, text, etag) => {
      const now = objects.get(key);
      if (now === undefined || sha256(now) !== etag) return 'changed';
      objects.set(key, text);
      return 'replaced';
    },
    versions: async (prefix) =>
      objects.history
        .filter(({ key }) => key.startsWith(prefix))
        .map(
          ({ key, version, text }): StoredVersion => ({
            key,
            ...(versioned && { version }),
            isLatest: objects.latest(key)?.version === version,
            isMarker: text === undefined,
          }),
        )
        .reverse(),
    removeVersion: async ({ key, version }) => {
      if (version) objects.removeVersion(key, version);
      else objects.delete(key);
    },
    look: async (key) => {
      const { text, version } = objects.latest(key) ?? {};
      return text === undefined
        ? undefined
        : { bytes: Buffer.byteLength(text), sha256: sha256(text), ...(versioned && version && { version }) };
    },
    list: async (prefix) => keysUnder(prefix),
    folders: async (prefix, after = '') => {
      const folders = keysUnder(prefix).flatMap((key) => /^[^/]*\//.exec(key.slice(prefix.length)) ?? []);
      return [...new Set(folders)].filter((folder) => folder > after);
    },
    abortUploads,
    remove: async (keys) => {
      for (const key of keys) objects.delete(key);
    },
  };
};
