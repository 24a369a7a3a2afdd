import type { StoredObject } from '../manifest.ts';
import type { BackupAddress } from '../object-keys.ts';

/** An object as the repository describes it. */
export interface ObjectFacts {
  readonly bytes: number;
  /** Lower-case hex, where the repository keeps a SHA-256 over the whole object. */
  readonly sha256?: string;
}

export interface StoredText {
  readonly text: string;
  /** Lower-case hex, over the bytes as they were read. */
  readonly sha256: string;
}

/**
 * The bucket. Every method throws `RepositoryRefused` where access is denied and `RepositoryUnavailable` where it does not
 * answer.
 */
export interface Repository {
  read(key: string): Promise<StoredText | undefined>;
  write(key: string, text: string): Promise<void>;
  /** Of the version named, where one is. */
  look(object: Pick<StoredObject, 'key' | 'version'>): Promise<ObjectFacts | undefined>;
  /** The keys under `prefix`, in their order. */
  list(prefix: string): Promise<readonly string[]>;
  /** What follows `prefix` in the keys under it, up to the next `/` and with it, each once; only those after `after`. */
  folders(prefix: string, after?: string): Promise<readonly string[]>;
  /** Ends the multipart uploads under `prefix`; how many there were. */
  abortUploads(prefix: string): Promise<number>;
  /**
   * Removes what lies under a backup's prefix, uploads included, unless its manifest does: a committed backup is never
   * touched. How many objects were removed.
   */
  removeUncommitted(at: BackupAddress): Promise<'committed' | number>;
}
