import type { Readable } from 'node:stream';
import type { StoredObject } from '#core/manifest.ts';

export interface ObjectHead {
  readonly bytes: number;
  /** Of the whole object, where the store keeps one. */
  readonly crc32: number | undefined;
  readonly version: string | undefined;
}

export interface GetOptions {
  readonly version?: string | undefined;
  /** Bytes `from` up to and with `to`. */
  readonly range?: { readonly from: number; readonly to: number };
}

/** One multipart upload. What was neither completed nor aborted is invisible, and the bucket's lifecycle removes it. */
export interface Upload {
  /** Part `number`, from 1. All parts but the last have the same size, at least 5 MiB. `body` must not change until this settles. */
  part(number: number, body: Buffer, crc32: number): Promise<void>;
  /** `crc32` is of the whole object: the store refuses the completion where its own differs. */
  complete(crc32: number): Promise<{ readonly version: string | undefined }>;
  /** Best effort, never throws. */
  abort(): Promise<void>;
}

/**
 * The bucket. Every method retries what may pass and then throws: `RepositoryRefused` (access), `ObjectMissing` (no such object or
 * version), `UploadFailed` (writes) or `RepositoryUnavailable` (reads), and the signal's reason once that is aborted.
 */
export interface Repository {
  /** The object's bytes as they arrive. An error in the middle is thrown by the stream, named as above. */
  get(key: string, options?: GetOptions): Promise<Readable>;
  /** A small object, whole. Throws `ObjectTampered` where it is larger than `maxBytes`. */
  read(key: string, maxBytes: number, options?: GetOptions): Promise<Buffer>;
  head(key: string, version?: string): Promise<ObjectHead>;
  /** Writes an object that must not exist yet (`If-None-Match: *`). */
  create(key: string, body: Buffer): Promise<StoredObject>;
  /** Writes an object whatever lies there: progress only. */
  overwrite(key: string, body: Buffer): Promise<void>;
  startUpload(key: string): Promise<Upload>;
}
