import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { processesUsing } from '#agent/restore/processes-using.ts';
import { bytesNeeded, checkEmpty, checkSpace, resolveTarget } from '#agent/restore/target.ts';
import type { RestoreInstruction } from '#core/agent-protocol.ts';

let directory: string;
beforeEach(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'target-')));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const instruction = (
  path: string,
  mode: RestoreInstruction['mode'] = 'prepare-only',
  dataDirectory = '/var/lib/x',
) => ({
  directory: path,
  mode,
  server: { dataDirectory } as RestoreInstruction['server'],
});

/** A process that has `file` open until it is told to end. */
const holdOpen = async (file: string): Promise<() => Promise<void>> => {
  const holder = spawn('sh', ['-c', 'exec 9<"$1"; echo held; read _', 'sh', file], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => void holder.stdout.once('data', resolve));
  return async () => {
    holder.stdin.end('\n');
    await new Promise((resolve) => void holder.once('close', resolve));
  };
};

describe('the target of a restore', () => {
  it('is staged beside it, under a name that the next run finds again', async () => {
    const target = await resolveTarget(instruction(join(directory, 'new')));
    expect(target).toMatchObject({
      directory: join(directory, 'new'),
      staging: join(directory, '.redoubt-restore-new'),
      handOver: 'rename',
      mode: undefined,
    });
    expect(await resolveTarget(instruction(join(directory, 'new')))).toEqual(target);
  });

  it('is the directory a link points at', async () => {
    mkdirSync(join(directory, 'real'));
    symlinkSync(join(directory, 'real'), join(directory, 'link'));
    expect((await resolveTarget(instruction(join(directory, 'link')))).directory).toBe(join(directory, 'real'));
  });

  it.runIf(process.getuid?.() === 0)('is staged within itself where it is a mount point', async () => {
    const mount = join(directory, 'mount');
    mkdirSync(mount);
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', mount]);
    try {
      expect(await resolveTarget(instruction(mount))).toMatchObject({
        staging: join(mount, '.redoubt-restore'),
        handOver: 'spread',
      });
      await expect(resolveTarget(instruction(mount, 'replace', mount))).rejects.toMatchObject({
        code: 'InvalidInput',
        detail: expect.stringContaining(`mount that volume at ${mount}`),
      });
    } finally {
      execFileSync('umount', [mount]);
    }
  });

  it('is not the root, a file, or a directory within the data directory', async () => {
    writeFileSync(join(directory, 'file'), '');
    for (const path of ['/', join(directory, 'file'), '/var/lib/x/restored'])
      await expect(resolveTarget(instruction(path))).rejects.toMatchObject({ code: 'InvalidInput' });
  });

  it('to be replaced is no other than the data directory of the server', async () => {
    await expect(resolveTarget(instruction(directory, 'replace', '/var/lib/x'))).rejects.toMatchObject({
      code: 'DataDirectoryMismatch',
    });
  });

  it('may be absent or empty', async () => {
    await checkEmpty(await resolveTarget(instruction(join(directory, 'absent'))));
    await checkEmpty(await resolveTarget(instruction(directory)));
  });

  it('holds nothing, not even a hidden file', async () => {
    writeFileSync(join(directory, '.hidden'), '');
    await expect(checkEmpty(await resolveTarget(instruction(directory)))).rejects.toMatchObject({
      code: 'TargetNotEmpty',
    });
  });

  it('has nobody at work on it, not even on files that were deleted', async () => {
    writeFileSync(join(directory, 'ibdata1'), '');
    const release = await holdOpen(join(directory, 'ibdata1'));
    rmSync(join(directory, 'ibdata1'));
    await expect(checkEmpty(await resolveTarget(instruction(directory)))).rejects.toMatchObject({
      code: 'TargetInUse',
    });
    await release();
    await checkEmpty(await resolveTarget(instruction(directory)));
  });
});

describe('a process that uses a directory', () => {
  it('is a server if it has the system tablespace open', async () => {
    writeFileSync(join(directory, 'ibdata1'), '');
    writeFileSync(join(directory, 'notes'), '');
    const releaseReader = await holdOpen(join(directory, 'notes'));
    expect((await processesUsing(directory)).map(({ isServer }) => isServer)).toEqual([false]);
    const releaseServer = await holdOpen(join(directory, 'ibdata1'));
    expect((await processesUsing(directory)).map(({ isServer }) => isServer).sort()).toEqual([false, true]);
    await releaseReader();
    await releaseServer();
  });

  it('is not the agent itself, nor one of a directory whose name only starts the same', async () => {
    mkdirSync(`${directory}-other`);
    const own = openSync(directory, 'r');
    writeFileSync(`${directory}-other/file`, '');
    const release = await holdOpen(`${directory}-other/file`);
    expect(await processesUsing(directory)).toEqual([]);
    await release();
    closeSync(own);
    rmSync(`${directory}-other`, { recursive: true });
  });
});

describe('the space a restore needs', () => {
  it('is all its files, its redo once more, and room for the engine', () => {
    expect(
      bytesNeeded([
        { restoredBytes: 1000, toLsn: 10n, lastLsn: 15n },
        { restoredBytes: 200, toLsn: 20n, lastLsn: 20n },
      ]),
    ).toBe(1205 + 64 * 1024 * 1024);
  });

  it('is compared with what is free, also where the target is still to be made', async () => {
    await checkSpace(join(directory, 'not/yet/there'), 1);
    await expect(checkSpace(join(directory, 'not/yet/there'), Number.MAX_SAFE_INTEGER)).rejects.toMatchObject({
      code: 'NotEnoughSpace',
      detail: expect.stringMatching(new RegExp(`has .* free.*${Number.MAX_SAFE_INTEGER} bytes`)),
    });
  });
});
