import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { serverLogTail, startServer, stopServer } from '#agent/restore/server-control.ts';
import type { ServerConfig } from '#core/cluster-config.ts';
import { RedoubtError } from '#core/errors.ts';

let root: string;
let directory: string;
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'control-')));
  directory = join(root, 'data');
  mkdirSync(directory);
  writeFileSync(join(directory, 'ibdata1'), '');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const serverWith = (start: string, stop = 'true'): ServerConfig => ({
  socket: '/s',
  dataDirectory: directory,
  optionFile: '/o',
  owner: 'root',
  control: { kind: 'command', start: ['/bin/sh', '-c', start], stop: ['/bin/sh', '-c', stop] },
});

const start = (server: ServerConfig, ask: () => Promise<string | undefined>, signal?: AbortSignal) =>
  startServer({ server, directory, output: join(root, 'output'), ask, waitMs: 20_000, signal });

/** Stands for a server: it has the system tablespace open. */
const holdTablespace = async () => {
  const holder = spawn('sh', ['-c', 'exec 9<"$1"; echo held; exec sleep 60', 'sh', join(directory, 'ibdata1')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => void holder.stdout.once('data', resolve));
  return holder;
};

describe('a server that is started', () => {
  it('is up once it answers', async () => {
    let asked = 0;
    const outcome = await start(serverWith('true'), async () => (++asked < 2 ? undefined : 'yes'));
    expect(outcome).toEqual({ kind: 'answered', answer: 'yes' });
  });

  it('has failed when its start command does, and what that said is kept', async () => {
    const server = serverWith('echo no such unit >&2; exit 5');
    const outcome = await start(server, async () => undefined);
    expect(outcome).toEqual({ kind: 'failed', why: 'its start command ended with 5' });
    expect(await serverLogTail(server, directory, undefined, join(root, 'output'))).toBe('no such unit');
  });

  it('has failed when it answers with a refusal', async () => {
    const outcome = await start(serverWith('true'), async () => {
      throw new RedoubtError('ServerAccessDenied', 'the password is another one');
    });
    expect(outcome).toMatchObject({ kind: 'failed', why: expect.stringContaining('the password is another one') });
  });

  it('is not started a second time while it runs', async () => {
    const holder = await holdTablespace();
    try {
      await start(serverWith(`touch ${join(root, 'started')}`), async () => 'yes');
      expect(existsSync(join(root, 'started'))).toBe(false);
    } finally {
      holder.kill('SIGKILL');
    }
  });

  it('is given up when the run is told to stop: its start command does not start it later on', async () => {
    const stop = new AbortController();
    const reason = new RedoubtError('RunCancelled', 'stop');
    const starting = start(serverWith(`sleep 2; touch ${join(root, 'late')}`), async () => undefined, stop.signal);
    setTimeout(() => stop.abort(reason), 200);
    await expect(starting).rejects.toBe(reason);
    await sleep(2500);
    expect(existsSync(join(root, 'late'))).toBe(false);
  });

  it('has nothing of the environment of the agent, which may hold credentials', async () => {
    process.env.AWS_SECRET_ACCESS_KEY = 'secret';
    try {
      await start(serverWith(`env > ${join(root, 'env')}`), async () =>
        existsSync(join(root, 'env')) ? 'yes' : undefined,
      );
    } finally {
      delete process.env.AWS_SECRET_ACCESS_KEY;
    }
    expect(readFileSync(join(root, 'env'), 'utf8')).not.toContain('AWS');
  });
});

describe('a server that is stopped', () => {
  it('is stopped when nothing has the tablespace open any more, however late after the command that is', async () => {
    const holder = await holdTablespace();
    await stopServer(serverWith('true', `(sleep 1; kill ${holder.pid}) &`), directory);
    expect(holder.killed || holder.exitCode !== null || holder.signalCode !== null).toBe(true);
  });

  it('need not run', async () => {
    await stopServer(serverWith('true', `touch ${join(root, 'asked')}`), directory);
    expect(existsSync(join(root, 'asked'))).toBe(false);
  });
});

describe('the words of a server that failed', () => {
  it('are the end of its error log, wherever that lies', async () => {
    writeFileSync(join(root, 'elsewhere.log'), `${'old\n'.repeat(2000)}[ERROR] the cause\n`);
    writeFileSync(join(directory, 'host.err'), '[ERROR] another\n');
    const server = serverWith('true');
    const none = join(root, 'none');
    const absolute = await serverLogTail(server, directory, join(root, 'elsewhere.log'), none);
    expect(absolute).toContain('[ERROR] the cause');
    expect(absolute.length).toBeLessThanOrEqual(2000);
    expect(await serverLogTail(server, directory, './host.err', none)).toBe('[ERROR] another');
    expect(await serverLogTail(server, directory, undefined, none)).toBe('[ERROR] another');
  });
});
