import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, mkdirSync, renameSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import S3Object from '@20minutes/s3rver/lib/models/object.js';
import FilesystemStore from '@20minutes/s3rver/lib/stores/filesystem.js';
import type { Checksums } from './checksums.ts';

export interface StoredChecksums {
  readonly etag: string;
  readonly type: 'FULL_OBJECT' | 'COMPOSITE';
  readonly checksums: Checksums;
}

export interface StoredPart {
  readonly number: number;
  readonly etag: string;
  readonly size: number;
  readonly modified: Date;
  readonly checksums: Checksums;
}

export interface StoredUpload {
  readonly key: string;
  readonly uploadId: string;
  readonly initiated: Date;
  /** The headers that the upload was created with. */
  readonly headers: Readonly<Record<string, string>>;
}

export type ListEntry =
  | {
      readonly kind: 'object';
      readonly key: string;
      readonly etag: string;
      readonly size: number;
      readonly modified: Date;
    }
  | { readonly kind: 'prefix'; readonly prefix: string };

const objectSuffix = '._S3rver_object';
/** No object's file begins so: theirs end with the suffix, and these never do. */
const unfinishedPrefix = '.new-';

const orUndefined = (error: NodeJS.ErrnoException): undefined => {
  if (error.code !== 'ENOENT') throw error;
  return undefined;
};

const byteOrder = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

/**
 * The server's store on the file system, with what S3 promises and it does not: an object appears whole or not at all,
 * keys are listed in byte order, a deletion does not take directories away under a concurrent upload, multipart ETags
 * tell their number of parts, and uploads and parts can be listed and aborted.
 */
export class ObjectStore extends FilesystemStore {
  /** Writes beside the place and moves there when all bytes have come: a cut upload leaves nothing. */
  override async putContent(path: string, content: Buffer | NodeJS.ReadableStream): Promise<[number, string]> {
    const temporary = join(dirname(path), `${unfinishedPrefix}${randomUUID()}`);
    try {
      const written = await super.putContent(temporary, content);
      await rename(temporary, path);
      return written;
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  async putObject(object: S3Object, partsEtag?: string): Promise<{ size: number; md5: string }> {
    const path = this.getResourcePath(object.bucket, object.key, 'object');
    await mkdir(dirname(path), { recursive: true });
    const staged = join(dirname(path), `${unfinishedPrefix}${randomUUID()}`);
    try {
      const [size, contentMd5] = await super.putContent(staged, object.content);
      const md5 = partsEtag ?? contentMd5;
      await this.putMetadata(object.bucket, object.key, object.metadata, md5);
      // Last: an object is there once this file is.
      mkdirSync(dirname(path), { recursive: true });
      renameSync(staged, path);
      return { size, md5 };
    } catch (error) {
      await rm(staged, { force: true });
      throw error;
    }
  }

  async putObjectMultipart(bucket: string, uploadId: string, parts: readonly { number: number }[]) {
    const upload = await this.upload(bucket, uploadId);
    if (upload === undefined) throw new Error(`There is no upload ${uploadId}.`);
    const numbers = parts.map(({ number }) => number).sort((a, b) => a - b);
    const stored = new Map((await this.parts(bucket, uploadId)).map((part) => [part.number, part]));
    const digests = numbers.map((number) => Buffer.from(stored.get(number)?.etag ?? '', 'hex'));
    const etag = `${createHash('md5').update(Buffer.concat(digests)).digest('hex')}-${numbers.length}`;
    const directory = this.#uploadDirectory(bucket, uploadId);
    const content = Readable.from(
      (async function* () {
        for (const number of numbers)
          yield* createReadStream(join(directory, String(number)), { highWaterMark: 1 << 20 });
      })(),
      { objectMode: false },
    );
    const result = await this.putObject(new S3Object(bucket, upload.key, content, upload.headers), etag);
    await this.abortUpload(bucket, uploadId);
    return result;
  }

  override async deleteObject(bucket: string, key: string): Promise<void> {
    // The object itself first: what is left behind by a crash is no object.
    for (const resource of ['object', 'object.md5', 'metadata.json', 'checksums.json']) {
      await rm(this.getResourcePath(bucket, key, resource), { force: true });
    }
  }

  /**
   * Keys and, where there is a delimiter, common prefixes in byte order. `after` is the key or the prefix that the page
   * before ended with.
   */
  async list(
    bucket: string,
    {
      prefix,
      delimiter,
      after,
      limit,
    }: { readonly prefix: string; readonly delimiter: string; readonly after: string; readonly limit: number },
  ): Promise<{ readonly entries: readonly ListEntry[]; readonly next: string | undefined }> {
    const directory = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    const files = await readdir(join(this.getBucketPath(bucket), directory), { recursive: true }).catch(orUndefined);
    const keys = (files ?? [])
      .filter((file) => file.endsWith(objectSuffix))
      .map((file) => `${directory}${file.slice(0, -objectSuffix.length)}`)
      .filter((key) => key.startsWith(prefix) && byteOrder(key, after) > 0)
      .filter((key) => delimiter === '' || !after.endsWith(delimiter) || !key.startsWith(after))
      .sort(byteOrder);
    const names = keys.map((key) => {
      const end = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
      return end === -1
        ? { kind: 'object' as const, name: key }
        : { kind: 'prefix' as const, name: key.slice(0, end + delimiter.length) };
    });
    const distinct = names.filter(({ name }, index) => name !== names[index - 1]?.name);
    const page = distinct.slice(0, limit);
    const entries = await Promise.all(
      page.map(async ({ kind, name }): Promise<ListEntry | undefined> => {
        if (kind === 'prefix') return { kind, prefix: name };
        const metadata = await this.getMetadata(bucket, name).catch(orUndefined);
        if (metadata === undefined) return undefined;
        return {
          kind,
          key: name,
          etag: String(metadata.etag),
          size: Number(metadata['content-length']),
          modified: new Date(metadata['last-modified'] ?? 0),
        };
      }),
    );
    return {
      entries: entries.filter((entry) => entry !== undefined),
      next: distinct.length > page.length ? page.at(-1)?.name : undefined,
    };
  }

  /** Removes what uploads left that were on their way when the process was killed. */
  async removeUnfinished(): Promise<void> {
    const files = await readdir(this.rootDirectory, { recursive: true });
    const unfinished = files.filter((file) => {
      const name = basename(file);
      return name.startsWith(unfinishedPrefix) && !name.includes('._S3rver_');
    });
    await Promise.all(unfinished.map((file) => rm(join(this.rootDirectory, file), { force: true })));
  }

  async hasBucket(bucket: string): Promise<boolean> {
    return (await stat(this.getBucketPath(bucket)).catch(orUndefined))?.isDirectory() ?? false;
  }

  /** The ETag and the size of an object; undefined when there is none. */
  async head(bucket: string, key: string): Promise<{ readonly etag: string; readonly size: number } | undefined> {
    const metadata = await this.getMetadata(bucket, key).catch(orUndefined);
    if (metadata === undefined) return undefined;
    return { etag: String(metadata.etag), size: Number(metadata['content-length']) };
  }

  async putChecksums(bucket: string, key: string, stored: StoredChecksums): Promise<void> {
    await writeFile(this.getResourcePath(bucket, key, 'checksums.json'), JSON.stringify(stored));
  }

  /** The object's checksums, as long as they are those of the object that is there now. */
  async checksums(bucket: string, key: string, etag: string): Promise<StoredChecksums | undefined> {
    const text = await readFile(this.getResourcePath(bucket, key, 'checksums.json'), 'utf8').catch(orUndefined);
    if (text === undefined) return undefined;
    const stored = JSON.parse(text) as StoredChecksums;
    return stored.etag === etag ? stored : undefined;
  }

  #uploadDirectory(bucket: string, uploadId: string): string {
    return join(this.getResourcePath(bucket, undefined, 'uploads'), uploadId);
  }

  async upload(bucket: string, uploadId: string): Promise<StoredUpload | undefined> {
    if (!/^[0-9a-f]+$/.test(uploadId)) return undefined;
    const directory = this.#uploadDirectory(bucket, uploadId);
    // The metadata is written together with the key, so an upload is there once both are.
    const [key, headers] = await Promise.all([
      readFile(join(directory, 'key'), 'utf8').catch(orUndefined),
      readFile(join(directory, 'metadata'), 'utf8').catch(orUndefined),
    ]);
    if (key === undefined || headers === undefined || headers === '') return undefined;
    const { mtime } = await stat(join(directory, 'key'));
    return { key, uploadId, initiated: mtime, headers: JSON.parse(headers) };
  }

  /** By key, then by the time they began, as S3 lists them. */
  async uploads(bucket: string, prefix: string): Promise<readonly StoredUpload[]> {
    const ids = (await readdir(this.getResourcePath(bucket, undefined, 'uploads')).catch(orUndefined)) ?? [];
    const uploads = await Promise.all(ids.map((id) => this.upload(bucket, id)));
    return uploads
      .filter((upload) => upload !== undefined)
      .filter(({ key }) => key.startsWith(prefix))
      .sort((a, b) => byteOrder(a.key, b.key) || a.initiated.getTime() - b.initiated.getTime());
  }

  async parts(bucket: string, uploadId: string): Promise<readonly StoredPart[]> {
    const directory = this.#uploadDirectory(bucket, uploadId);
    const files = (await readdir(directory).catch(orUndefined)) ?? [];
    const parts = await Promise.all(
      files
        .filter((file) => /^\d+$/.test(file))
        .map(async (file): Promise<StoredPart | undefined> => {
          const path = join(directory, file);
          const [etag, status, checksums] = await Promise.all([
            readFile(`${path}.md5`, 'utf8').catch(orUndefined),
            stat(path).catch(orUndefined),
            readFile(`${path}.checksums`, 'utf8').catch(orUndefined),
          ]);
          if (etag === undefined || status === undefined) return undefined;
          const known: { etag: string; checksums: Checksums } = JSON.parse(checksums ?? '{"etag":"","checksums":{}}');
          return {
            number: Number(file),
            etag,
            size: status.size,
            modified: status.mtime,
            checksums: known.etag === etag ? known.checksums : {},
          };
        }),
    );
    return parts.filter((part) => part !== undefined).sort((a, b) => a.number - b.number);
  }

  async putPartChecksums(bucket: string, uploadId: string, number: number, etag: string, checksums: Checksums) {
    const path = join(this.#uploadDirectory(bucket, uploadId), `${number}.checksums`);
    // The upload may have been aborted meanwhile.
    await writeFile(path, JSON.stringify({ etag, checksums })).catch(orUndefined);
  }

  partPaths(bucket: string, uploadId: string, numbers: readonly number[]): readonly string[] {
    return numbers.map((number) => join(this.#uploadDirectory(bucket, uploadId), String(number)));
  }

  async abortUpload(bucket: string, uploadId: string): Promise<void> {
    await rm(this.#uploadDirectory(bucket, uploadId), { recursive: true, force: true });
  }
}
