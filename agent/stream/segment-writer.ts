import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type Duplex, PassThrough } from 'node:stream';
import { crc32 } from 'node:zlib';
import type { StoredObject } from '#core/manifest.ts';
import type { Repository, Upload } from '../repository/repository.ts';
import type { BufferPool } from './buffer-pool.ts';
import { crc32Combine } from './crc32-combine.ts';
import { freeBuffer } from './free-buffer.ts';
import { createSeal } from './seal.ts';
import type { SealContext } from './seal-context.ts';
import type { Throttle } from './throttle.ts';

/** What all segments of a backup share: the buffers above all, so that memory does not grow with their number. */
export interface SegmentDeps {
  readonly repository: Pick<Repository, 'startUpload'>;
  /** Absent where the engine encrypts and nothing is sealed. */
  readonly dataKey: Buffer | undefined;
  /** Buffers of the part size; one is being filled, the others are on their way. */
  readonly parts: BufferPool;
  readonly throttle: Throttle;
  readonly signal: AbortSignal;
  /** Called as soon as something fails, so that everything else stops too. */
  readonly fail: (error: unknown) => void;
}

/** What is known of a segment once it is stored. `crc32` is of the object: the store's own is compared with it. */
export interface StoredSegment {
  readonly object: StoredObject;
  readonly crc32: number;
}

/**
 * One segment on its way: compressed frames in, one object out, sealed unless the engine encrypts. Bytes are copied once, from the sealed pieces into
 * the part that is sent; hashed once (SHA-256, for the manifest) and summed once (CRC-32, for the store).
 */
export class SegmentWriter {
  readonly key: string;
  readonly #deps: SegmentDeps;
  readonly #seal: Duplex;
  readonly #upload: Promise<Upload>;
  readonly #hash = createHash('sha256');
  readonly #sending: Promise<void>[] = [];
  readonly #pump: Promise<void>;
  #part: Buffer | undefined;
  #filled = 0;
  #bytes = 0;
  #crc32 = 0;

  constructor(key: string, context: SealContext, deps: SegmentDeps) {
    this.key = key;
    this.#deps = deps;
    this.#seal = deps.dataKey === undefined ? new PassThrough() : createSeal(deps.dataKey, context);
    this.#seal.on('error', deps.fail);
    this.#upload = deps.repository.startUpload(key);
    this.#upload.catch(deps.fail);
    this.#pump = this.#run();
    this.#pump.catch(deps.fail);
  }

  /** Resolves when there is room for the next frame. `frame` must not change afterwards. */
  async write(frame: Buffer): Promise<void> {
    if (!this.#seal.write(frame)) await once(this.#seal, 'drain', { signal: this.#deps.signal });
  }

  /** Seals, sends and completes what was written. */
  async finish(): Promise<StoredSegment> {
    this.#seal.end();
    await this.#pump;
    await Promise.all(this.#sending);
    const upload = await this.#upload;
    const { version } = await upload.complete(this.#crc32);
    const object = { key: this.key, bytes: this.#bytes, sha256: this.#hash.digest('hex') };
    return { object: version === undefined ? object : { ...object, version }, crc32: this.#crc32 };
  }

  /** Leaves nothing of it in the repository; the signal must be aborted. Never throws. */
  async abort(): Promise<void> {
    // Ended, not destroyed: the SDK's inner streams throw where nobody can catch it when one of them is closed early.
    this.#seal.end();
    // A part still on its way would survive the abort; all of them settle, because the signal is aborted.
    await Promise.allSettled([this.#pump, ...this.#sending]);
    const upload = await this.#upload.catch(() => undefined);
    await upload?.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#deps;
    let failure: { readonly error: unknown } | undefined;
    for await (const piece of this.#seal as AsyncIterable<Buffer>) {
      // Read to its end even then, for the reason given above.
      if (failure !== undefined || signal.aborted) continue;
      try {
        await this.#take(piece);
      } catch (error) {
        failure = { error };
        this.#deps.fail(error);
      }
    }
    if (failure !== undefined) throw failure.error;
    signal.throwIfAborted();
    if (this.#filled > 0) this.#send();
  }

  async #take(piece: Buffer): Promise<void> {
    this.#hash.update(piece);
    for (let at = 0; at < piece.length; ) {
      this.#part ??= await this.#deps.parts.acquire();
      const copied = piece.copy(this.#part, this.#filled, at);
      this.#filled += copied;
      at += copied;
      if (this.#filled === this.#part.length) this.#send();
    }
    freeBuffer(piece);
  }

  #send(): void {
    const part = this.#part as Buffer;
    const body = part.subarray(0, this.#filled);
    const number = this.#sending.length + 1;
    const sum = crc32(body);
    this.#crc32 = crc32Combine(this.#crc32, sum, body.length);
    this.#bytes += body.length;
    this.#part = undefined;
    this.#filled = 0;
    const sent = this.#sendPart(number, body, sum).finally(() => this.#deps.parts.release(part));
    sent.catch(this.#deps.fail);
    this.#sending.push(sent);
  }

  async #sendPart(number: number, body: Buffer, sum: number): Promise<void> {
    const { throttle, signal } = this.#deps;
    const upload = await this.#upload;
    await throttle.take(body.length, signal);
    await upload.part(number, body, sum);
  }
}
