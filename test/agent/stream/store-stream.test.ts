import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { decompress } from '#agent/stream/decompress.ts';
import type { SealContext } from '#agent/stream/seal-context.ts';
import { BLOCK_BYTES, type StoreStreamInput, storeStream } from '#agent/stream/store-stream.ts';
import { unsealBuffer } from '#agent/stream/unseal.ts';
import { RedoubtError } from '#core/errors.ts';
import { backupIdSchema, chainIdSchema, clusterIdSchema } from '#core/ids.ts';
import { MemoryRepository } from '#test/doubles/memory-repository.ts';

const dataKey = randomBytes(32);

const contextOf = (key: string): SealContext => ({
  cluster: clusterIdSchema.parse('orders'),
  chain: chainIdSchema.parse('20261122T051210Z-3f9a1c'),
  backup: backupIdSchema.parse('20261122T051210Z-f0000-3f9a1c'),
  object: key,
});

/** Yields `content` in pieces, in one buffer over and over as the engine's pipe does; counts what was taken. */
class Source implements AsyncIterable<Buffer> {
  taken = 0;
  destroyed = false;
  readonly #content: Buffer;

  constructor(content: Buffer) {
    this.#content = content;
  }

  destroy(): void {
    this.destroyed = true;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    const buffer = Buffer.alloc(200_000);
    while (this.taken < this.#content.length && !this.destroyed) {
      const copied = this.#content.copy(buffer, 0, this.taken);
      this.taken += copied;
      await sleep(0);
      yield buffer.subarray(0, copied);
      buffer.fill(0xee);
    }
  }
}

const store = (source: Source, repository: MemoryRepository, changes: Partial<StoreStreamInput> = {}) =>
  storeStream({
    source,
    repository,
    dataKey,
    keyOf: (index) => `data.${String(index).padStart(5, '0')}`,
    contextOf,
    compressionLevel: 1,
    compressionThreads: 2,
    signal: new AbortController().signal,
    onBlock: () => undefined,
    segmentBytes: 2 * BLOCK_BYTES,
    partBytes: 300_000,
    ...changes,
  });

const open = async (repository: MemoryRepository, key: string): Promise<Buffer> => {
  const compressed = await unsealBuffer(repository.objects.get(key) as Buffer, dataKey, contextOf(key));
  const pieces: Buffer[] = [];
  const source = async function* () {
    yield compressed;
  };
  for await (const piece of decompress(source())) pieces.push(piece);
  return Buffer.concat(pieces);
};

const half = (bytes: number): Buffer => Buffer.concat([randomBytes(bytes / 2), Buffer.alloc(bytes / 2, 'page')]);

describe('storing a stream', () => {
  it('cuts it into segments of the same size, each opening by itself', async () => {
    const content = Buffer.concat([half(BLOCK_BYTES), half(2 * BLOCK_BYTES), half(2 * BLOCK_BYTES), half(123_456)]);
    const repository = new MemoryRepository();
    const seen = createHash('sha256');
    const stored = await store(new Source(content), repository, { onBlock: (block) => seen.update(block) });
    expect(stored.bytes).toBe(content.length);
    expect(stored.segments.map(({ object }) => object.key)).toEqual(['data.00000', 'data.00001', 'data.00002']);
    expect(seen.digest('hex')).toBe(createHash('sha256').update(content).digest('hex'));
    for (const [index, { object, crc32: sum }] of stored.segments.entries()) {
      const body = repository.objects.get(object.key) as Buffer;
      expect(object.bytes).toBe(body.length);
      expect(object.sha256).toBe(createHash('sha256').update(body).digest('hex'));
      expect(sum).toBe(crc32(body));
      const from = index * stored.segmentBytes;
      expect((await open(repository, object.key)).equals(content.subarray(from, from + stored.segmentBytes))).toBe(
        true,
      );
    }
  });

  it('has no segment more than it needs', async () => {
    const repository = new MemoryRepository();
    expect((await store(new Source(half(2 * BLOCK_BYTES)), repository)).segments).toHaveLength(1);
    expect((await store(new Source(Buffer.alloc(0)), repository)).segments).toHaveLength(0);
  });

  it('stops taking from a source whose bytes the repository does not take', async () => {
    const content = randomBytes(24 * BLOCK_BYTES);
    const repository = new MemoryRepository();
    let release: () => void = () => undefined;
    const blocked = new Promise<void>((resolve) => {
      release = resolve;
    });
    const start = repository.startUpload.bind(repository);
    repository.startUpload = async (key) => {
      const upload = await start(key);
      return {
        ...upload,
        part: async (number, body, sum) => {
          await blocked;
          await upload.part(number, body, sum);
        },
      };
    };
    const source = new Source(content);
    const storing = store(source, repository, { segmentBytes: 64 * BLOCK_BYTES });
    let taken = -1;
    while (source.taken !== taken) {
      taken = source.taken;
      await sleep(500);
    }
    // Six parts, four blocks, one frame in the seal, one piece read.
    expect(taken).toBeLessThan(6 * 300_000 + 8 * BLOCK_BYTES);
    release();
    expect((await storing).bytes).toBe(content.length);
  });

  it.each(['part', 'startUpload', 'complete'])(
    'fails with what failed first, at %s of a later segment',
    async (what) => {
      const repository = new MemoryRepository();
      repository.failing = (operation, key) =>
        operation === what && key === 'data.00001' ? new RedoubtError('RepositoryRefused', 'denied') : undefined;
      const source = new Source(half(12 * BLOCK_BYTES));
      await expect(store(source, repository)).rejects.toMatchObject({ code: 'RepositoryRefused' });
      expect(source.destroyed).toBe(true);
      expect(repository.uploads.size).toBe(0);
    },
  );

  it('fails with what the one who watches throws', async () => {
    const repository = new MemoryRepository();
    const onBlock = () => {
      throw new RedoubtError('StreamCorrupt', 'garbage');
    };
    await expect(store(new Source(half(4 * BLOCK_BYTES)), repository, { onBlock })).rejects.toMatchObject({
      code: 'StreamCorrupt',
    });
    expect(repository.uploads.size).toBe(0);
  });

  it('ends with the run, whatever it is waiting for', async () => {
    const controller = new AbortController();
    const repository = new MemoryRepository();
    const source = new Source(half(16 * BLOCK_BYTES));
    // Slower than anybody would wait.
    const storing = store(source, repository, { signal: controller.signal, uploadBytesPerSecond: 1000 });
    setTimeout(() => controller.abort(new RedoubtError('RunCancelled', 'over')), 200);
    await expect(storing).rejects.toMatchObject({ code: 'RunCancelled' });
    expect(repository.uploads.size).toBe(0);
    expect(source.destroyed).toBe(true);
  });
});
