import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EnginePipe } from '#agent/stream/engine-pipe.ts';

describe('a pipe to a child', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'redoubt-pipe-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const start = async (script: string) => {
    const pipe = await EnginePipe.open(directory);
    const child = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', pipe.theirs, 'ignore'] });
    pipe.closeTheirs();
    return { pipe, child };
  };

  it('brings every byte, however slowly they are taken', async () => {
    const { pipe } = await start('seq 1 1500000');
    const hash = createHash('sha256');
    let bytes = 0;
    let pieces = 0;
    for await (const piece of pipe) {
      if (pieces++ % 20 === 0) await sleep(2);
      hash.update(piece);
      bytes += piece.length;
    }
    const expected = createHash('sha256');
    for (let n = 1; n <= 1_500_000; n++) expected.update(`${n}\n`);
    expect(bytes).toBe(10_888_896);
    expect(hash.digest('hex')).toBe(expected.digest('hex'));
  });

  it('stops the child that nobody reads', async () => {
    const { pipe, child } = await start('exec cat /dev/zero');
    await sleep(200);
    let bytes = 0;
    for await (const piece of pipe) {
      bytes += piece.length;
      if (bytes > 10_000_000) break;
    }
    // Leaving the loop closes the pipe; the child dies of it, by SIGPIPE or, where bytes lay unread in the socket, by ECONNRESET.
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(code).not.toBe(0);
  });

  it('ends at once for a child that says nothing', async () => {
    const { pipe } = await start('exit 3');
    for await (const _ of pipe) expect.unreachable();
  });

  it('leaves no socket behind', async () => {
    const { pipe } = await start('true');
    expect(readdirSync(directory)).toEqual([]);
    pipe.destroy();
  });
});
