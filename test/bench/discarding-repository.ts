import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import type { ObjectHead, Repository, Upload } from '#agent/repository/repository.ts';
import { RedoubtError } from '#core/errors.ts';

/** The fastest bucket there can be: it remembers of each object what `head` must answer, and the content of small ones only. */
export class DiscardingRepository implements Repository {
  readonly #heads = new Map<string, ObjectHead>();
  readonly #small = new Map<string, Buffer>();

  async get(key: string): Promise<Readable> {
    throw new RedoubtError('ObjectMissing', `${key} was thrown away`);
  }

  async read(key: string): Promise<Buffer> {
    const body = this.#small.get(key);
    if (body === undefined) throw new RedoubtError('ObjectMissing', `${key} was thrown away`);
    return body;
  }

  async head(key: string): Promise<ObjectHead> {
    const head = this.#heads.get(key);
    if (head === undefined) throw new RedoubtError('ObjectMissing', `no object ${key}`);
    return head;
  }

  async create(key: string, body: Buffer) {
    this.#small.set(key, body);
    this.#heads.set(key, { bytes: body.length, crc32: crc32(body), version: undefined });
    return { key, bytes: body.length, sha256: createHash('sha256').update(body).digest('hex') };
  }

  async overwrite(): Promise<void> {}

  async startUpload(key: string): Promise<Upload> {
    let bytes = 0;
    return {
      part: async (_number, body) => {
        bytes += body.length;
      },
      complete: async (sum) => {
        this.#heads.set(key, { bytes, crc32: sum, version: undefined });
        return { version: undefined };
      },
      abort: async () => undefined,
    };
  }
}
