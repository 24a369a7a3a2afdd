import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Inventory, inventoryDifference } from '#agent/stream/inventory.ts';
import type { InventoryDocument } from '#agent/stream/inventory-format.ts';
import { XbstreamReader } from '#agent/stream/xbstream-reader.ts';
import { endChunk, payloadChunk, sparseChunk, xbstreamOf } from '#test/doubles/xbstream-writer.ts';

interface Reading {
  readonly contents: Readonly<Record<string, Buffer>>;
  readonly inventory: InventoryDocument;
}

/** Reads `stream` in pieces of the sizes given, over and over. */
const read = (stream: Buffer, sizes: readonly number[] = [stream.length]): Reading => {
  const reader = new XbstreamReader();
  const inventory = new Inventory();
  const pieces = new Map<string, Buffer[]>();
  for (let at = 0, turn = 0; at < stream.length; turn++) {
    const size = Math.max(1, sizes[turn % sizes.length] ?? 1);
    for (const event of reader.push(stream.subarray(at, at + size))) {
      inventory.note(event);
      const list = pieces.get(event.path) ?? [];
      pieces.set(event.path, list);
      if (event.kind === 'data') list.push(Buffer.from(event.data));
      if (event.kind === 'hole') list.push(Buffer.alloc(event.bytes));
    }
    at += size;
  }
  reader.end();
  const contents = Object.fromEntries([...pieces].map(([path, list]) => [path, Buffer.concat(list)]));
  return { contents, inventory: inventory.finish() };
};

const small = xbstreamOf({ ibdata1: 'system', 'app/t.ibd': 'table', 'app/empty': '' });

describe('reading an xbstream', () => {
  it('sees the same files whatever the pieces it comes in', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.stringMatching(/^[a-z]{1,12}$/), fc.uint8Array({ maxLength: 300 }), { minKeys: 1 }),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 }),
        (files, sizes) => {
          const given = Object.fromEntries(Object.entries(files).map(([path, data]) => [path, Buffer.from(data)]));
          const { contents, inventory } = read(xbstreamOf(given), sizes);
          for (const [path, data] of Object.entries(given)) expect(contents[path]?.equals(data)).toBe(true);
          expect(inventory.files).toEqual(
            Object.keys(given)
              .sort()
              .map((path) => ({ path, bytes: given[path]?.length, crc32: crc32(given[path] ?? '') })),
          );
        },
      ),
      { numRuns: 200 },
    );
  });

  it('joins interleaved chunks of several files', () => {
    const stream = Buffer.concat([
      payloadChunk('a', 0, Buffer.from('one')),
      payloadChunk('b', 0, Buffer.from('uno')),
      payloadChunk('a', 3, Buffer.from('two')),
      endChunk('a'),
      payloadChunk('b', 3, Buffer.from('due')),
      endChunk('b'),
    ]);
    const { contents, inventory } = read(stream, [7]);
    expect(contents.a?.toString()).toBe('onetwo');
    expect(inventory.files).toEqual([
      { path: 'a', bytes: 6, crc32: crc32('onetwo') },
      { path: 'b', bytes: 6, crc32: crc32('unodue') },
    ]);
  });

  it('reads holes of sparse chunks as zeros, also at the end of a file', () => {
    const stream = Buffer.concat([
      sparseChunk('t.ibd', 0, [
        { skip: 0, data: Buffer.from('head') },
        { skip: 4096, data: Buffer.from('body') },
        { skip: 100, data: Buffer.alloc(0) },
      ]),
      sparseChunk('t.ibd', 4204, [{ skip: 10, data: Buffer.from('x') }]),
      endChunk('t.ibd'),
    ]);
    const whole = Buffer.concat([
      Buffer.from('head'),
      Buffer.alloc(4096),
      Buffer.from('body'),
      Buffer.alloc(110),
      Buffer.from('x'),
    ]);
    for (const sizes of [[1], [13], [stream.length]]) {
      const { contents, inventory } = read(stream, sizes);
      expect(contents['t.ibd']?.equals(whole)).toBe(true);
      expect(inventory.files).toEqual([{ path: 't.ibd', bytes: whole.length, crc32: crc32(whole) }]);
    }
  });

  it('reads what mbstream itself writes', () => {
    const directory = mkdtempSync(join(tmpdir(), 'redoubt-mbstream-'));
    try {
      const data = Buffer.alloc(11_000_000, 'InnoDB page ');
      writeFileSync(join(directory, 'big'), data);
      writeFileSync(join(directory, 'empty'), '');
      const stream = execFileSync('mbstream', ['-c', 'big', 'empty'], { cwd: directory, maxBuffer: 1 << 26 });
      expect(read(stream, [65_536]).inventory.files).toEqual([
        { path: 'big', bytes: data.length, crc32: crc32(data) },
        { path: 'empty', bytes: 0, crc32: 0 },
      ]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe('what xbstream -x takes without a word is refused', () => {
  const refusal = (stream: Buffer): unknown => {
    try {
      read(stream, [11]);
    } catch (error) {
      return (error as Error).name;
    }
    return undefined;
  };

  it('an empty stream', () => expect(() => new Inventory().finish()).toThrow('no file'));

  it('a stream cut anywhere, at a chunk border too', () => {
    for (let length = 1; length < small.length; length++) {
      // Two files of three may be whole at a border: then a shorter stream is a valid stream of fewer files.
      const names = refusal(small.subarray(0, length));
      const atFileBorder = names === undefined;
      if (atFileBorder) expect(small.indexOf(Buffer.from('XBSTCK01'), length - 1)).toBe(length);
      else expect(names).toBe('StreamIncomplete');
    }
  });

  it('a file without its end', () => {
    expect(refusal(payloadChunk('a', 0, Buffer.from('x')))).toBe('StreamIncomplete');
  });

  it('any flipped bit of the data or its checksum', () => {
    const stream = xbstreamOf({ a: 'some content' });
    for (let at = 31; at < stream.length - endChunk('a').length; at++) {
      const damaged = Buffer.from(stream);
      damaged.writeUInt8((damaged[at] as number) ^ 0x10, at);
      expect(refusal(damaged)).toBe('StreamCorrupt');
    }
  });

  it('a flipped bit in a sparse map', () => {
    const stream = Buffer.concat([sparseChunk('a', 0, [{ skip: 16, data: Buffer.from('x') }]), endChunk('a')]);
    const damaged = Buffer.from(stream);
    damaged.writeUInt8(17, 14 + 1 + 24);
    expect(refusal(damaged)).toBe('StreamCorrupt');
  });

  it('garbage', () => expect(refusal(Buffer.alloc(64, 'garbage'))).toBe('StreamCorrupt'));

  it('a chunk out of its order', () => {
    const chunks = [payloadChunk('a', 0, Buffer.from('one')), payloadChunk('a', 3, Buffer.from('two'))];
    expect(refusal(Buffer.concat([...chunks.toReversed(), endChunk('a')]))).toBe('StreamCorrupt');
    expect(refusal(Buffer.concat([chunks[0] as Buffer, chunks[0] as Buffer, endChunk('a')]))).toBe('StreamCorrupt');
  });

  it('a file that goes on after its end', () => {
    const stream = Buffer.concat([endChunk('a'), payloadChunk('a', 0, Buffer.from('x')), endChunk('a')]);
    expect(refusal(stream)).toBe('StreamCorrupt');
  });

  it.each(['../x', '/etc/passwd', 'a/../../x', 'a\nb'])('the path %j', (path) => {
    expect(refusal(endChunk(path))).toBe('StreamCorrupt');
  });

  it('a chunk of a size no engine sends', () => {
    const chunk = payloadChunk('a', 0, Buffer.from('x'));
    chunk.writeBigUInt64LE(1n << 40n, 15);
    expect(refusal(chunk)).toBe('StreamCorrupt');
  });
});

describe('comparing inventories', () => {
  const document = (files: InventoryDocument['files']): InventoryDocument => ({
    format: 'redoubt-inventory',
    version: 1,
    files,
  });
  const was = document([
    { path: 'a', bytes: 1, crc32: 1 },
    { path: 'b', bytes: 2, crc32: 2 },
  ]);

  it.each([
    ['nothing', was.files, undefined],
    ['a missing file', was.files.slice(1), 'a is missing'],
    ['another size', [{ path: 'a', bytes: 9, crc32: 1 }, ...was.files.slice(1)], 'a has 9 bytes, not 1'],
    ['another content', [{ path: 'a', bytes: 1, crc32: 9 }, ...was.files.slice(1)], 'a has another content'],
    ['a file too many', [...was.files, { path: 'c', bytes: 0, crc32: 0 }], 'c is not in the inventory'],
  ])('names %s', (_what, files, expected) => {
    expect(inventoryDifference(was, document(files))).toBe(expected);
  });
});
