import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type RunOptions, runProcess } from '#agent/io/run-process.ts';
import { SecretDirectory } from '#agent/io/secret-directory.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'run-process-'));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

const shell = (script: string, options: Partial<RunOptions> = {}) => {
  const lines: string[] = [];
  const running = runProcess(
    { program: '/bin/sh', args: ['-c', script] },
    { stdout: 'pipe', onStderrLine: (line) => lines.push(line), ...options },
  );
  return { ...running, lines };
};

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    // A zombie waits for its parent; it does nothing any more.
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
};

const until = async (condition: () => boolean): Promise<void> => {
  for (let tries = 0; tries < 500 && !condition(); tries++) await sleep(20);
  expect(condition()).toBe(true);
};

describe('a process', () => {
  it('hands over its output, its lines and its exit code', async () => {
    const { stdout, exited, lines } = shell('echo out; echo one >&2; printf "two\\rthree" >&2; exit 7');
    expect(await text(stdout)).toBe('out\n');
    expect(await exited).toEqual({ code: 7, signal: undefined });
    expect(lines).toEqual(['one', 'two', 'three']);
  });

  it('is told apart from one that a signal ended', async () => {
    expect(await shell('kill -SEGV $$').exited).toEqual({ code: undefined, signal: 'SIGSEGV' });
  });

  it('sees nothing of the agent’s environment, writes for its user only and speaks English', async () => {
    process.env.AWS_SECRET_ACCESS_KEY = 'not for the engine';
    process.env.MYSQL_PWD = 'neither';
    try {
      const { stdout, exited } = shell('env; umask');
      const output = await text(stdout);
      await exited;
      expect(output).not.toMatch(/AWS_|MYSQL_PWD/);
      expect(output).toMatch(/^LC_ALL=C$/m);
      expect(output).toMatch(/^HOME=\/nonexistent$/m);
      expect(output).toMatch(/^0077$/m);
    } finally {
      delete process.env.AWS_SECRET_ACCESS_KEY;
      delete process.env.MYSQL_PWD;
    }
  });

  it('can leave no core file, nor any of its memory to a program that keeps cores', async () => {
    const { stdout, exited } = shell('ulimit -S -c; ulimit -H -c; cat /proc/self/coredump_filter');
    expect(await text(stdout)).toBe('0\n0\n00000000\n');
    await exited;
  });

  it('that is not there is said to be missing', async () => {
    const lines: string[] = [];
    const { exited } = runProcess(
      { program: '/nowhere/mariadb-backup', args: [] },
      { stdout: 'ignore', onStderrLine: (line) => lines.push(line) },
    );
    expect(await exited).toEqual({ code: 127, signal: undefined });
    expect(lines.join('\n')).toMatch(/not found/);
  });

  it('has ended, with all it started, once its exit is known', async () => {
    const { exited, kill } = shell(`sleep 600 & echo $! > ${directory}/pid; wait`);
    await until(() => existsSync(`${directory}/pid`) && readFileSync(`${directory}/pid`, 'utf8') !== '');
    const grandchild = Number(readFileSync(`${directory}/pid`, 'utf8'));
    kill();
    expect(await exited).toEqual({ code: undefined, signal: 'SIGTERM' });
    await until(() => !alive(grandchild));
  });

  it('that ignores SIGTERM gets SIGKILL after the grace', async () => {
    const { exited, kill, stdout } = shell('trap "" TERM; echo ready; while :; do sleep 1; done', { graceMs: 100 });
    stdout.once('data', kill);
    expect(await exited).toEqual({ code: undefined, signal: 'SIGKILL' });
  });

  it('may end in peace after SIGTERM, and its own exit code counts', async () => {
    const { exited, kill, stdout } = shell('trap "exit 3" TERM; echo ready; while :; do sleep 0.05; done');
    stdout.once('data', kill);
    expect(await exited).toEqual({ code: 3, signal: undefined });
  });

  it('is ended by an abort signal, also by one that came before', async () => {
    expect(await shell('sleep 600', { signal: AbortSignal.abort() }).exited).toMatchObject({ signal: 'SIGTERM' });
    const controller = new AbortController();
    const { exited, stdout } = shell('echo ready; exec sleep 600', { signal: controller.signal });
    stdout.once('data', () => controller.abort());
    expect(await exited).toMatchObject({ signal: 'SIGTERM' });
  });

  it('gets its option file as the first argument; it is gone afterwards', async () => {
    using secrets = SecretDirectory.create();
    const { stdout, exited } = runProcess(
      { program: '/bin/sh', args: [], optionFile: '[client]\npassword="x"\n' },
      { stdout: 'pipe', onStderrLine: () => {}, secretDirectory: secrets },
    );
    await text(stdout);
    await exited;
    const echo = runProcess(
      { program: '/bin/echo', args: ['--backup'], optionFile: 'secret' },
      { stdout: 'pipe', onStderrLine: () => {}, secretDirectory: secrets },
    );
    const [first, second] = (await text(echo.stdout)).trim().split(' ');
    await echo.exited;
    expect(first).toMatch(new RegExp(`^--defaults-file=${secrets.path}/`));
    expect(second).toBe('--backup');
    expect(existsSync(first?.split('=')[1] ?? '')).toBe(false);
  });

  it('dies when the agent is killed with SIGKILL', async () => {
    const runner = new URL('../../../agent/io/run-process.ts', import.meta.url).href;
    const agent = spawn(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import { runProcess } from ${JSON.stringify(runner)};
         runProcess({ program: '/bin/sh', args: ['-c', 'echo $$ > ${directory}/pid; trap "" TERM HUP; while :; do sleep 0.1; done'] },
           { stdout: 'ignore', onStderrLine: () => {} });`,
      ],
      { stdio: 'inherit' },
    );
    await until(() => existsSync(`${directory}/pid`) && readFileSync(`${directory}/pid`, 'utf8').endsWith('\n'));
    const engine = Number(readFileSync(`${directory}/pid`, 'utf8'));
    expect(alive(engine)).toBe(true);
    agent.kill('SIGKILL');
    await until(() => !alive(engine));
  });
});
