import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { fetchBackup } from '#agent/restore/fetch-backup.ts';
import { Inventory } from '#agent/stream/inventory.ts';
import { sealBuffer } from '#agent/stream/seal.ts';
import { sealContextOf } from '#agent/stream/seal-context.ts';
import { XbstreamReader } from '#agent/stream/xbstream-reader.ts';
import { dataKeyOf } from '#core/object-keys.ts';
import { MemoryRepository } from '#test/doubles/memory-repository.ts';
import { sampleAddress, sampleManifest } from '#test/doubles/sample-manifest.ts';
import { endChunk, payloadChunk, xbstreamOf } from '#test/doubles/xbstream-writer.ts';

const files = { ibdata1: 'system', 'app/t.ibd': 'table', 'component_keyring_kms.cnf': '{"secret_access_key":"x"}' };
const at = sampleAddress(0);
const dataKey = randomBytes(32);

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'redoubt-fetch-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const inventoryOf = (stream: Buffer) => {
  const inventory = new Inventory();
  for (const event of new XbstreamReader().push(stream)) inventory.note(event);
  return inventory.finish();
};

/** Fetches `stored`, genuine and whole, under the inventory of `files`. */
const fetching = async (stored: Buffer): Promise<string> => {
  const repository = new MemoryRepository();
  const key = dataKeyOf(at, 0);
  const segment = await repository.create(
    key,
    await sealBuffer(zstdCompressSync(stored), dataKey, sealContextOf(at, key)),
  );
  const sample = sampleManifest(at);
  const manifest = { ...sample, segments: [segment], stream: { ...sample.stream, bytes: stored.length } };
  const into = join(directory, 'data');
  await fetchBackup({
    repository,
    manifest,
    inventory: inventoryOf(xbstreamOf(files)),
    dataKey,
    engineKey: undefined,
    into,
    signal: new AbortController().signal,
    onProgress: () => undefined,
  });
  return into;
};

it('a backup is extracted, but for the configuration of a keyring', async () => {
  const into = await fetching(xbstreamOf(files));
  expect(readdirSync(into).toSorted()).toEqual(['app', 'ibdata1']);
});

it.each([
  ['empty', Buffer.alloc(0)],
  ['cut between two files', xbstreamOf({ ibdata1: 'system' })],
  [
    'cut at a chunk border',
    Buffer.concat([xbstreamOf({ ibdata1: 'system' }), payloadChunk('app/t.ibd', 0, Buffer.from('table'))]),
  ],
  ['of another content', xbstreamOf({ ...files, 'app/t.ibd': 'tabel' })],
  ['larger than its inventory', Buffer.concat([xbstreamOf(files), endChunk('app/more.ibd')])],
])('a stream that is %s is refused, and nothing of it stays', async (_, stored) => {
  await expect(fetching(stored)).rejects.toMatchObject({ code: 'ObjectTampered' });
  expect(existsSync(join(directory, 'data'))).toBe(false);
});
