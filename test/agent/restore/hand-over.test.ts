import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asideName, carrySwap, spreadIn, stagedData } from '#agent/restore/hand-over.ts';
import type { Swap } from '#agent/restore/journal.ts';
import type { Target } from '#agent/restore/target.ts';

let root: string;
let target: Target;
let swap: Swap & { readonly aside: string };

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'hand-over-'));
  target = {
    directory: join(root, 'mysql'),
    staging: join(root, '.redoubt-restore-mysql'),
    handOver: 'rename',
    mode: undefined,
  };
  swap = { mode: 'replace', direction: 'in', aside: join(root, 'mysql.redoubt-run'), serverRan: true };
  for (const [path, content] of [
    [target.directory, 'old'],
    [stagedData(target), 'new'],
  ] as const) {
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, 'which'), content);
  }
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const which = (path: string): string => readFileSync(join(path, 'which'), 'utf8');
const expectIn = (): void => {
  expect(which(target.directory)).toBe('new');
  expect(which(swap.aside)).toBe('old');
  expect(existsSync(stagedData(target))).toBe(false);
};
const expectOut = (): void => {
  expect(which(target.directory)).toBe('old');
  expect(existsSync(swap.aside)).toBe(false);
  expect(which(stagedData(target))).toBe('new');
};
/** What a crash after so many of the two renames leaves. */
const crashAfter = (renames: number): void => {
  if (renames > 0) renameSync(target.directory, swap.aside);
  if (renames > 1) renameSync(stagedData(target), target.directory);
};

describe('the hand-over of a directory', () => {
  it.each([0, 1, 2])('goes on where it was interrupted, after %i renames', async (renames) => {
    crashAfter(renames);
    await carrySwap(target, swap);
    expectIn();
  });

  it.each([0, 1, 2])('goes back from where it was interrupted, after %i renames', async (renames) => {
    crashAfter(renames);
    await carrySwap(target, { ...swap, direction: 'out' });
    expectOut();
  });

  it('can go back and forth as often as one likes', async () => {
    await carrySwap(target, swap);
    await carrySwap(target, { ...swap, direction: 'out' });
    await carrySwap(target, swap);
    expectIn();
  });

  it('is over when the old directory was removed by somebody since', async () => {
    await carrySwap(target, swap);
    rmSync(swap.aside, { recursive: true });
    await carrySwap(target, swap);
    expect(which(target.directory)).toBe('new');
  });

  it('stops where somebody else made a directory in its place', async () => {
    crashAfter(1);
    mkdirSync(target.directory);
    writeFileSync(join(target.directory, 'which'), 'strange');
    await expect(carrySwap(target, swap)).rejects.toMatchObject({ code: 'Unexpected' });
    expect(which(swap.aside)).toBe('old');
    expect(which(target.directory)).toBe('strange');
  });

  it('finds a free name for the old directory', async () => {
    expect(await asideName(target.directory, 'run')).toBe(join(root, 'mysql.redoubt-run'));
    mkdirSync(join(root, 'mysql.redoubt-run'));
    expect(await asideName(target.directory, 'run')).toBe(join(root, 'mysql.redoubt-run-2'));
  });
});

describe('the hand-over to a mount point', () => {
  it.runIf(process.getuid?.() === 0)('moves every entry in, also those that an interrupted one left', async () => {
    const mount = join(root, 'mount');
    mkdirSync(mount);
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', mount]);
    try {
      const onMount: Target = {
        directory: mount,
        staging: join(mount, '.redoubt-restore'),
        handOver: 'spread',
        mode: 0o755,
      };
      mkdirSync(join(stagedData(onMount), 'app'), { recursive: true });
      writeFileSync(join(stagedData(onMount), 'app/a.ibd'), 'a');
      writeFileSync(join(mount, 'ibdata1'), 'moved before the crash');
      writeFileSync(join(stagedData(onMount), 'ib_logfile0'), 'left');
      await spreadIn(onMount);
      await spreadIn(onMount);
      expect(readdirSync(mount).sort()).toEqual(['.redoubt-restore', 'app', 'ib_logfile0', 'ibdata1']);
      expect(readdirSync(onMount.staging)).toEqual([]);
    } finally {
      execFileSync('umount', [mount]);
    }
  });
});
