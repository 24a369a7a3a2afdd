/** An object as the repository describes it. */
export interface ObjectFacts {
  readonly bytes: number;
  /** Where the repository keeps versions. */
  readonly version?: string;
  /** Lower-case hex, where the repository keeps a SHA-256 over the whole object. */
  readonly sha256?: string;
}

export interface StoredText {
  readonly text: string;
  /** Of what was read: `replace` takes it. */
  readonly etag: string;
}

/** One version of an object; a bucket without versions has one of each, without a `version`. */
export interface StoredVersion {
  readonly key: string;
  readonly version?: string;
  readonly isLatest: boolean;
  /** It only says that the object was removed. */
  readonly isMarker: boolean;
}

/**
 * The bucket. Every method throws `RepositoryRefused` where access is denied and `RepositoryUnavailable` where it does not
 * answer.
 */
export interface Repository {
  /** The latest version, where none is named. */
  read(key: string, version?: string): Promise<StoredText | undefined>;
  write(key: string, text: string): Promise<void>;
  /** Only where nothing is; `exists` where something is, and then nothing was written. */
  create(key: string, text: string): Promise<'created' | 'exists'>;
  /** Only over what has this ETag; `changed` where something else is there by now, and then nothing was written. */
  replace(key: string, text: string, etag: string): Promise<'replaced' | 'changed'>;
  /** Every version of everything under `prefix`, removed objects included; newest first for each key. */
  versions(prefix: string): Promise<readonly StoredVersion[]>;
  /** For good. One that is gone already is fine. */
  removeVersion(version: Pick<StoredVersion, 'key' | 'version'>): Promise<void>;
  /** What is there now. An object that was removed is not, although its versions can still be read for a while. */
  look(key: string): Promise<ObjectFacts | undefined>;
  /** The keys under `prefix`, in their order. */
  list(prefix: string): Promise<readonly string[]>;
  /** What follows `prefix` in the keys under it, up to the next `/` and with it, each once; only those after `after`. */
  folders(prefix: string, after?: string): Promise<readonly string[]>;
  /** Ends the multipart uploads under `prefix`; how many there were. */
  abortUploads(prefix: string): Promise<number>;
  /** What is gone already is fine. Older versions stay until they expire. */
  remove(keys: readonly string[]): Promise<void>;
}
