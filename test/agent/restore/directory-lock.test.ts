import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { lockDirectory } from '#agent/restore/directory-lock.ts';

const holdInAnotherProcess = async (directory: string) => {
  const holder = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `const { lockDirectory } = await import('#agent/restore/directory-lock.ts');
       await lockDirectory(${JSON.stringify(directory)}); console.log('held'); setInterval(() => {}, 1000);`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'], cwd: process.cwd() },
  );
  await once(holder.stdout, 'data');
  return holder;
};

describe('the lock of a target directory', () => {
  it('is held by one at a time', async () => {
    await using _lock = await lockDirectory('/some/target');
    await expect(lockDirectory('/some/target')).rejects.toMatchObject({ code: 'HostBusy' });
  });

  it('is of one directory only', async () => {
    await using _one = await lockDirectory('/some/target');
    await using other = await lockDirectory('/some/other');
    expect(other).toBeDefined();
  });

  it('is free again afterwards', async () => {
    {
      await using _lock = await lockDirectory('/some/target');
    }
    await using again = await lockDirectory('/some/target');
    expect(again).toBeDefined();
  });

  it('is held across processes, and free as soon as its holder was killed', async () => {
    const holder = await holdInAnotherProcess('/some/shared');
    await expect(lockDirectory('/some/shared')).rejects.toMatchObject({ code: 'HostBusy' });
    holder.kill('SIGKILL');
    await once(holder, 'close');
    await using lock = await lockDirectory('/some/shared');
    expect(lock).toBeDefined();
  });
});
