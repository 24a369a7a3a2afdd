import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { SecretDirectory } from '#agent/io/secret-directory.ts';

const TMPFS = 0x01021994;

const until = async (condition: () => boolean): Promise<void> => {
  for (let tries = 0; tries < 500 && !condition(); tries++) await sleep(20);
  expect(condition()).toBe(true);
};

describe('a secret directory', () => {
  it('lies in memory and is open to its owner only', () => {
    using secrets = SecretDirectory.create();
    expect(statfsSync(secrets.path).type).toBe(TMPFS);
    expect(statSync(secrets.path).mode & 0o777).toBe(0o700);
    const file = secrets.write('open sesame');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, 'utf8')).toBe('open sesame');
    expect(secrets.write('another')).not.toBe(file);
  });

  it('is gone when it is disposed of', () => {
    let path: string;
    {
      using secrets = SecretDirectory.create();
      path = secrets.path;
      secrets.write('open sesame');
    }
    expect(existsSync(path)).toBe(false);
  });

  it('is never made on a disk', () => {
    expect(() => SecretDirectory.create([process.cwd()])).toThrow(/no tmpfs/);
  });

  it.each(['SIGKILL', 'SIGTERM', 'SIGINT'] as const)('is gone after its process got %s', async (signal) => {
    const module = new URL('../../../agent/io/secret-directory.ts', import.meta.url).href;
    const agent = spawn(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import { SecretDirectory } from ${JSON.stringify(module)};
         const secrets = SecretDirectory.create();
         secrets.write('open sesame');
         console.log(secrets.path);
         setInterval(() => {}, 1000);`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const [line] = (await once(agent.stdout.setEncoding('utf8'), 'data')) as [string];
    const path = line.trim();
    expect(readdirSync(path)).toHaveLength(1);
    agent.kill(signal);
    await until(() => !existsSync(path));
  });

  it('does not keep its process alive', async () => {
    const module = new URL('../../../agent/io/secret-directory.ts', import.meta.url).href;
    const agent = spawn(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import { SecretDirectory } from ${JSON.stringify(module)}; SecretDirectory.create();`,
      ],
      { stdio: 'inherit' },
    );
    expect((await once(agent, 'exit'))[0]).toBe(0);
  });

  it('takes away what processes that are gone have left, and nothing of the living', () => {
    using mine = SecretDirectory.create();
    const place = dirname(mine.path);
    const [, pid, start] = /^redoubt-(\d+)-(\d+)-/.exec(basename(mine.path)) ?? [];
    // Nobody has this id; and this process's id, but of a process that started at another time.
    const dead = [`${place}/redoubt-4194999-1-dead00`, `${place}/redoubt-${pid}-${Number(start) + 1}-dead00`];
    for (const path of dead) mkdirSync(path);
    try {
      using _other = SecretDirectory.create();
      for (const path of dead) expect(existsSync(path)).toBe(false);
      expect(existsSync(mine.path)).toBe(true);
    } finally {
      for (const path of dead) rmSync(path, { recursive: true, force: true });
    }
  });

  it('would not be made in the temporary directory of a machine that keeps it on disk', () => {
    if (statfsSync(tmpdir()).type === TMPFS) return;
    expect(() => SecretDirectory.create([tmpdir()])).toThrow(/no tmpfs/);
  });
});
