import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import type { GetOptions, ObjectHead, Repository, Upload } from '#agent/repository/repository.ts';
import { RedoubtError } from '#core/errors.ts';

const fileOf = (key: string): string => encodeURIComponent(key);

const keysIn = (directory: string): readonly string[] => readdirSync(directory).map(decodeURIComponent).sort();

/**
 * A bucket in a directory, with the promises of the agent's port: several processes can use it, and what one of them has not
 * completed when it is killed stays as it would in S3. `before` is called before each operation and may throw.
 */
export class FileRepository implements Repository {
  readonly directory: string;
  readonly #before: (operation: string, key: string) => void;

  constructor(directory: string, before: (operation: string, key: string) => void = () => undefined) {
    this.directory = directory;
    this.#before = before;
    for (const name of ['objects', 'uploads', 'written']) mkdirSync(join(directory, name), { recursive: true });
  }

  // -- as whoever owns the bucket sees it

  keys(): readonly string[] {
    return keysIn(join(this.directory, 'objects'));
  }

  /** Keys of uploads neither completed nor aborted. */
  uploads(): readonly string[] {
    return keysIn(join(this.directory, 'uploads'));
  }

  body(key: string): Buffer | undefined {
    const path = this.#object(key);
    return existsSync(path) ? readFileSync(path) : undefined;
  }

  /** Whole or not at all. */
  put(key: string, body: Buffer | string): void {
    const written = join(this.directory, 'written', `${process.pid}-${fileOf(key)}`);
    writeFileSync(written, body);
    renameSync(written, this.#object(key));
  }

  remove(key: string): void {
    rmSync(this.#object(key), { force: true });
  }

  removeUpload(key: string): void {
    rmSync(this.#upload(key), { force: true });
  }

  // -- as the agent sees it

  async get(key: string, { range }: GetOptions = {}): Promise<Readable> {
    const body = this.#existing('get', key);
    return Readable.from([range === undefined ? body : body.subarray(range.from, range.to + 1)], { objectMode: false });
  }

  async read(key: string, maxBytes: number): Promise<Buffer> {
    const body = this.#existing('read', key);
    if (body.length > maxBytes) throw new RedoubtError('ObjectTampered', `${key} is larger than ${maxBytes} bytes`);
    return body;
  }

  async head(key: string): Promise<ObjectHead> {
    const body = this.#existing('head', key);
    return { bytes: body.length, crc32: crc32(body), version: undefined };
  }

  async create(key: string, body: Buffer) {
    this.#before('create', key);
    if (existsSync(this.#object(key))) throw new RedoubtError('UploadFailed', `${key} exists`);
    this.put(key, body);
    return { key, bytes: body.length, sha256: createHash('sha256').update(body).digest('hex') };
  }

  async overwrite(key: string, body: Buffer): Promise<void> {
    this.#before('overwrite', key);
    this.put(key, body);
  }

  async startUpload(key: string): Promise<Upload> {
    this.#before('startUpload', key);
    const parts = new Map<number, Buffer>();
    writeFileSync(this.#upload(key), '');
    return {
      part: async (number, body, sum) => {
        this.#before('part', key);
        if (crc32(body) !== sum)
          throw new RedoubtError('UploadFailed', `part ${number} of ${key} has another checksum`);
        parts.set(number, Buffer.from(body));
      },
      complete: async (sum) => {
        this.#before('complete', key);
        const body = Buffer.concat([...parts].sort(([a], [b]) => a - b).map(([, part]) => part));
        if (crc32(body) !== sum) throw new RedoubtError('UploadFailed', `${key} has another checksum`);
        this.put(key, body);
        this.removeUpload(key);
        return { version: undefined };
      },
      abort: async () => this.removeUpload(key),
    };
  }

  #existing(operation: string, key: string): Buffer {
    this.#before(operation, key);
    const body = this.body(key);
    if (body === undefined) throw new RedoubtError('ObjectMissing', `no object ${key}`);
    return body;
  }

  #object(key: string): string {
    return join(this.directory, 'objects', fileOf(key));
  }

  #upload(key: string): string {
    return join(this.directory, 'uploads', fileOf(key));
  }
}
