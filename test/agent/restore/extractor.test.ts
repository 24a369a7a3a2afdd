import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Extractor } from '#agent/restore/extractor.ts';
import { XbstreamReader } from '#agent/stream/xbstream-reader.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'extractor-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const data = (path: string, offset: number, text: string) =>
  ({ kind: 'data', path, offset, data: Buffer.from(text) }) as const;
const end = (path: string) => ({ kind: 'end', path }) as const;

describe('an extraction', () => {
  it('writes interleaved files, each in its order', async () => {
    const extractor = await Extractor.create(join(directory, 'x'));
    for (const event of [
      data('app/a.ibd', 0, 'aaa'),
      data('app/b.ibd', 0, 'b'),
      data('app/a.ibd', 3, 'AAA'),
      end('app/b.ibd'),
      data('deep/er/c', 0, 'c'),
      end('app/a.ibd'),
      end('deep/er/c'),
      end('empty'),
    ])
      await extractor.note(event);
    await extractor.finish();
    expect(readFileSync(join(directory, 'x/app/a.ibd'), 'utf8')).toBe('aaaAAA');
    expect(readFileSync(join(directory, 'x/app/b.ibd'), 'utf8')).toBe('b');
    expect(readFileSync(join(directory, 'x/deep/er/c'), 'utf8')).toBe('c');
    expect(statSync(join(directory, 'x/empty')).size).toBe(0);
  });

  it('leaves holes as zeros, at the end of a file too', async () => {
    const extractor = await Extractor.create(join(directory, 'x'));
    await extractor.note(data('a', 0, 'a'));
    await extractor.note({ kind: 'hole', path: 'a', offset: 1, bytes: 9 });
    await extractor.note(end('a'));
    await extractor.finish();
    expect(readFileSync(join(directory, 'x/a'))).toEqual(Buffer.concat([Buffer.from('a'), Buffer.alloc(9)]));
  });

  it('is private: nobody else may read what lies in it', async () => {
    await Extractor.create(join(directory, 'x'));
    expect(statSync(join(directory, 'x')).mode & 0o777).toBe(0o700);
  });

  it('never goes into a directory that was there before', async () => {
    await Extractor.create(join(directory, 'x'));
    await expect(Extractor.create(join(directory, 'x'))).rejects.toMatchObject({ code: 'EEXIST' });
  });

  it('never opens a file that was there before, nor what a link points at', async () => {
    const root = join(directory, 'x');
    const extractor = await Extractor.create(root);
    writeFileSync(join(directory, 'outside'), 'untouched');
    symlinkSync(join(directory, 'outside'), join(root, 'a'));
    await expect(
      (async () => {
        await extractor.note(data('a', 0, 'overwritten'));
        await extractor.finish();
      })(),
    ).rejects.toMatchObject({ code: 'ObjectTampered' });
    await extractor.abandon();
    expect(readFileSync(join(directory, 'outside'), 'utf8')).toBe('untouched');
  });

  it('does not take a link for a directory', async () => {
    const root = join(directory, 'x');
    const extractor = await Extractor.create(root);
    symlinkSync(directory, join(root, 'app'));
    await expect(
      (async () => {
        await extractor.note(data('app/a', 0, 'escaped'));
        await extractor.finish();
      })(),
    ).rejects.toMatchObject({ code: 'ObjectTampered' });
    await extractor.abandon();
    expect(existsSync(join(directory, 'a'))).toBe(false);
  });

  it('refuses a name that is a file and a directory', async () => {
    const extractor = await Extractor.create(join(directory, 'x'));
    await expect(
      (async () => {
        for (const event of [data('a', 0, '1'), end('a'), data('a/b', 0, '2'), end('a/b')]) await extractor.note(event);
        await extractor.finish();
      })(),
    ).rejects.toMatchObject({ code: 'ObjectTampered' });
    await extractor.abandon();
  });

  // The reader is what keeps such names from it.
  it.each(['/etc/cron.d/x', '../x', 'app/../../x', ''])('is never given the path %j', (path) => {
    const name = Buffer.from(path);
    const chunk = Buffer.concat([Buffer.from('XBSTCK01\0E'), Buffer.alloc(4), name]);
    chunk.writeUInt32LE(name.length, 10);
    expect(() => [...new XbstreamReader().push(chunk)]).toThrow();
  });
});
