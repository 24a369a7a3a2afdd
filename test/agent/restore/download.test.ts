import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { download, downloadWhole } from '#agent/restore/download.ts';
import { RedoubtError } from '#core/errors.ts';
import type { StoredObject } from '#core/manifest.ts';
import { MemoryRepository } from '#test/doubles/memory-repository.ts';

const never = new AbortController().signal;
const limits = { partBytes: 1000, inFlight: 3 };

const storeObjects = async (
  repository: MemoryRepository,
  sizes: readonly number[],
): Promise<readonly StoredObject[]> => {
  const objects: StoredObject[] = [];
  for (const [index, size] of sizes.entries()) objects.push(await repository.create(`o${index}`, randomBytes(size)));
  return objects;
};

const readAll = async (repository: MemoryRepository, objects: readonly StoredObject[]): Promise<readonly Buffer[]> => {
  const contents: Buffer[] = [];
  for await (const { content } of download(repository, objects, never, limits)) {
    const pieces: Buffer[] = [];
    for await (const piece of content) pieces.push(piece);
    contents.push(Buffer.concat(pieces));
  }
  return contents;
};

describe('a download', () => {
  it('has every byte of every object in its order', async () => {
    const repository = new MemoryRepository();
    const objects = await storeObjects(repository, [2500, 0, 1000, 1, 999]);
    const contents = await readAll(repository, objects);
    expect(contents.map((content) => createHash('sha256').update(content).digest('hex'))).toEqual(
      objects.map(({ sha256 }) => sha256),
    );
  });

  it('keeps no more than the ranges it was allowed, however slow the reader is', async () => {
    const repository = new MemoryRepository();
    const objects = await storeObjects(repository, [20_000, 20_000]);
    let asked = 0;
    const get = repository.get.bind(repository);
    repository.get = (key, options) => {
      asked++;
      return get(key, options);
    };
    let read = 0;
    for await (const { content } of download(repository, objects, never, limits)) {
      for await (const _ of content) {
        read++;
        await new Promise((resolve) => setTimeout(resolve, 1));
        expect(asked - read).toBeLessThanOrEqual(limits.inFlight);
      }
    }
    expect(read).toBe(40);
  });

  it('asks for ranges side by side, also across objects', async () => {
    const repository = new MemoryRepository();
    const objects = await storeObjects(repository, [500, 500, 500]);
    let running = 0;
    let most = 0;
    const get = repository.get.bind(repository);
    repository.get = async (key, options) => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running--;
      return get(key, options);
    };
    await readAll(repository, objects);
    expect(most).toBe(3);
  });

  it.each([
    ['flipped bit', (body: Buffer) => body.fill((body[1500] as number) ^ 1, 1500, 1501)],
    ['object that is shorter', (body: Buffer) => body.subarray(0, 1999)],
    ['object of the same size with other bytes', (body: Buffer) => randomBytes(body.length)],
  ])('refuses a %s', async (_what, change) => {
    const repository = new MemoryRepository();
    const objects = await storeObjects(repository, [2500]);
    repository.objects.set('o0', change(repository.objects.get('o0') as Buffer));
    await expect(readAll(repository, objects)).rejects.toMatchObject({ code: 'ObjectTampered' });
  });

  it('names an object that is gone', async () => {
    const repository = new MemoryRepository();
    const objects = await storeObjects(repository, [10, 10]);
    repository.objects.delete('o1');
    await expect(readAll(repository, objects)).rejects.toMatchObject({ code: 'ObjectMissing' });
  });

  it('asks again for a range whose connection broke', async () => {
    const repository = new MemoryRepository();
    const objects = await storeObjects(repository, [100]);
    const get = repository.get.bind(repository);
    let tries = 0;
    repository.get = async (key, options) => {
      if (++tries > 1) return get(key, options);
      return Readable.from(
        (async function* () {
          yield Buffer.alloc(10);
          throw new RedoubtError('RepositoryUnavailable', 'the connection broke');
        })(),
      );
    };
    expect((await downloadWhole(repository, objects[0] as StoredObject, never)).length).toBe(100);
    expect(tries).toBe(2);
  });

  it('ends with the reason of the signal', async () => {
    const repository = new MemoryRepository();
    const [object] = await storeObjects(repository, [100]);
    const stop = new AbortController();
    const reason = new RedoubtError('RunCancelled', 'told to stop');
    stop.abort(reason);
    await expect(downloadWhole(repository, object as StoredObject, stop.signal)).rejects.toBe(reason);
  });
});
