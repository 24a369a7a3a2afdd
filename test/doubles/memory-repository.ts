import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import type { GetOptions, ObjectHead, Repository, Upload } from '#agent/repository/repository.ts';
import { RedoubtError } from '#core/errors.ts';

/** A bucket in memory, with the promises of the port. `failing` makes operations throw, by name and key. */
export class MemoryRepository implements Repository {
  readonly objects = new Map<string, Buffer>();
  /** Keys of uploads neither completed nor aborted. */
  readonly uploads = new Set<string>();
  /** In order: `create <key>`, `complete <key>`, `overwrite <key>`. */
  readonly writes: string[] = [];
  failing: (operation: string, key: string) => RedoubtError | undefined = () => undefined;

  async get(key: string, { range }: GetOptions = {}): Promise<Readable> {
    // A copy: who reads it may give its memory back.
    const body = Buffer.from(this.#object('get', key));
    return Readable.from([range === undefined ? body : body.subarray(range.from, range.to + 1)], { objectMode: false });
  }

  async read(key: string, maxBytes: number): Promise<Buffer> {
    const body = this.#object('read', key);
    if (body.length > maxBytes) throw new RedoubtError('ObjectTampered', `${key} is larger than ${maxBytes} bytes`);
    return body;
  }

  async head(key: string): Promise<ObjectHead> {
    const body = this.#object('head', key);
    return { bytes: body.length, crc32: crc32(body), version: undefined };
  }

  async create(key: string, body: Buffer) {
    this.#check('create', key);
    if (this.objects.has(key)) throw new RedoubtError('UploadFailed', `${key} exists`);
    this.objects.set(key, Buffer.from(body));
    this.writes.push(`create ${key}`);
    return { key, bytes: body.length, sha256: createHash('sha256').update(body).digest('hex') };
  }

  async overwrite(key: string, body: Buffer): Promise<void> {
    this.#check('overwrite', key);
    this.objects.set(key, Buffer.from(body));
    this.writes.push(`overwrite ${key}`);
  }

  async startUpload(key: string): Promise<Upload> {
    this.#check('startUpload', key);
    const parts = new Map<number, Buffer>();
    this.uploads.add(key);
    return {
      part: async (number, body, sum) => {
        await new Promise((resolve) => setImmediate(resolve));
        this.#check('part', key);
        if (crc32(body) !== sum)
          throw new RedoubtError('UploadFailed', `part ${number} of ${key} has another checksum`);
        parts.set(number, Buffer.from(body));
      },
      complete: async (sum) => {
        this.#check('complete', key);
        const body = Buffer.concat([...parts].sort(([a], [b]) => a - b).map(([, part]) => part));
        if (crc32(body) !== sum) throw new RedoubtError('UploadFailed', `${key} has another checksum`);
        this.objects.set(key, body);
        this.uploads.delete(key);
        this.writes.push(`complete ${key}`);
        return { version: undefined };
      },
      abort: async () => {
        this.uploads.delete(key);
      },
    };
  }

  #object(operation: string, key: string): Buffer {
    this.#check(operation, key);
    const body = this.objects.get(key);
    if (body === undefined) throw new RedoubtError('ObjectMissing', `no object ${key}`);
    return body;
  }

  #check(operation: string, key: string): void {
    const error = this.failing(operation, key);
    if (error !== undefined) throw error;
  }
}
