import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LeakWatch, toldToProcesses } from './leak-watch.ts';
import { foundIn, needlesOf, type Secret } from './needles.ts';
import { filesBelow, searchFiles } from './search-files.ts';

// The leak tests are worth what their search finds.

const secret: Secret = { name: 'planted', bytes: randomBytes(32) };
const { bytes } = secret;
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'redoubt-search-'));
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('the search for leaks', () => {
  it.each<[string, Buffer | string]>([
    ['raw', bytes],
    ['in hex', bytes.toString('hex')],
    ['in upper-case hex', bytes.toString('hex').toUpperCase()],
    ...['', 'a', 'ab', 'abc'].flatMap((before) =>
      (['base64', 'base64url'] as const).map((encoding): [string, string] => [
        `in ${encoding} behind "${before}"`,
        Buffer.concat([Buffer.from(before), bytes, Buffer.from('behind')]).toString(encoding),
      ]),
    ),
  ])('knows a secret %s', (_, form) => {
    const content = Buffer.concat([Buffer.from('key='), Buffer.from(form), Buffer.from('&')]);
    expect(foundIn(content, needlesOf([secret]))).not.toEqual([]);
    expect(foundIn(content, needlesOf([{ name: 'another', bytes: randomBytes(32) }]))).toEqual([]);
  });

  it('finds it anywhere in a large file, and only not where it may be', () => {
    const path = join(directory, 'large');
    // Across the border of what is read at a time.
    const content = Buffer.alloc(9 * 1024 * 1024, 'x');
    bytes.copy(content, 4 * 1024 * 1024 - 10);
    writeFileSync(path, content);
    const needles = needlesOf([secret]);
    expect(searchFiles(filesBelow(directory), needles)).toEqual([`${path}: planted, raw`]);
    expect(searchFiles(filesBelow(directory, new Set([path])), needles)).toEqual([]);
    rmSync(path);
  });

  it('finds it in a command line, in an environment and in a file that is soon gone', async () => {
    const file = join(directory, 'left');
    const watch = await LeakWatch.start({ directories: [directory], secrets: [secret] });
    const told = spawn('sleep', ['60'], { argv0: `sleep --key=${bytes.toString('hex')}`, stdio: 'ignore' });
    const wears = spawn('sleep', ['60'], { env: { KEY: `x${bytes.toString('base64')}` }, stdio: 'ignore' });
    writeFileSync(file, `a${bytes.toString('base64url')}`);
    await watch.looked();
    rmSync(file);
    const sampled = await watch.end();
    for (const child of [told, wears]) child.kill();
    expect(toldToProcesses(sampled, [secret])).toHaveLength(2);
    expect(sampled.inFiles).toEqual([expect.stringContaining(`${file}: planted`)]);
  });
});
