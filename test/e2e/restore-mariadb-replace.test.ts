import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Connection, createConnection } from 'mysql2/promise';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runRestore } from '#agent/commands/restore.ts';
import { processesUsing } from '#agent/restore/processes-using.ts';
import type { RestoreInstruction } from '#core/agent-protocol.ts';
import { RedoubtError } from '#core/errors.ts';
import { runIdSchema } from '#core/ids.ts';
import { RestoreLab } from '#test/agent/restore/restore-lab.ts';

let lab: RestoreLab;
let directory: string;

const staging = (): string => join(dirname(directory), '.redoubt-restore-data');
const movedAside = (): readonly string[] =>
  readdirSync(dirname(directory)).filter((name) => name.startsWith('data.redoubt-'));

const instruction = (overrides: Partial<RestoreInstruction> & { readonly upTo?: number; refuse?: string } = {}) => {
  const { refuse, ...rest } = overrides;
  const base = lab.instruction({ mode: 'replace', directory, ...rest });
  return { ...base, server: { ...base.server, control: lab.control(refuse) } };
};

const connect = (): Promise<Connection> => createConnection({ socketPath: lab.server.socket, user: 'root' });

const valuesOf = async (): Promise<readonly unknown[]> => {
  const connection = await connect();
  try {
    const [rows] = await connection.query('SELECT v FROM app.t ORDER BY v');
    return (rows as { v: unknown }[]).map(({ v }) => v);
  } finally {
    await connection.end();
  }
};

const until = async (what: () => boolean | Promise<boolean>): Promise<void> => {
  for (let waited = 0; !(await what()); waited += 50) {
    if (waited > 60_000) throw new Error('it did not come to that');
    await sleep(50);
  }
};

const stopAll = (): Promise<void> =>
  until(async () => {
    const servers = (await processesUsing(dirname(directory))).filter(({ isServer }) => isServer);
    for (const { pid } of servers) process.kill(pid, 'SIGKILL');
    return servers.length === 0;
  });

beforeEach(async () => {
  lab = await RestoreLab.create();
  directory = lab.server.dataDirectory;
  await lab.server.query('CREATE DATABASE app');
  await lab.server.query('CREATE TABLE app.t (v INT PRIMARY KEY)');
  await lab.server.query('INSERT INTO app.t VALUES (0)');
  await lab.backup();
  await lab.server.query('INSERT INTO app.t VALUES (1)');
  await lab.backup();
  await lab.server.query('INSERT INTO app.t VALUES (2)');
});

afterEach(async () => {
  await stopAll();
  await lab[Symbol.asyncDispose]();
});

describe('a data directory that is replaced', () => {
  it('is that of the backup, under a running server; the old one stays beside it', async () => {
    const mode = statSync(directory).mode;
    const answer = await runRestore(instruction(), lab.context());
    expect(await valuesOf()).toEqual([0, 1]);
    expect(answer).toMatchObject({
      backup: lab.taken[1]?.manifest.backup,
      directory,
      movedAside: `${directory}.redoubt-restore-run`,
      serverVersion: expect.stringMatching(/^10\.11\./),
    });
    expect(existsSync(join(answer.movedAside as string, 'ibdata1'))).toBe(true);
    expect(statSync(directory).mode).toBe(mode);
    expect(existsSync(staging())).toBe(false);
  });

  it('may be gone altogether, and its server with it', async () => {
    await lab.server.kill();
    rmSync(directory, { recursive: true });
    const answer = await runRestore(instruction(), lab.context());
    expect(answer.movedAside).toBeUndefined();
    expect(await valuesOf()).toEqual([0, 1]);
  });

  it('may be gone under a server that still runs', async () => {
    rmSync(directory, { recursive: true });
    await runRestore(instruction(), lab.context());
    expect(await valuesOf()).toEqual([0, 1]);
  });

  it('comes back, with its server, when the restored one does not start', async () => {
    await expect(
      // mariadb-backup leaves this file in what it prepared.
      runRestore(instruction({ refuse: '[ -e "$D/xtrabackup_info" ]' }), lab.context()),
    ).rejects.toMatchObject({
      code: 'RestoredServerFailed',
      detail: expect.stringContaining('the server refuses to start'),
    });
    expect(await valuesOf()).toEqual([0, 1, 2]);
    expect(movedAside()).toEqual([]);
    expect(existsSync(staging())).toBe(false);
  });

  it('comes back when the restored server starts and ends again', async () => {
    await expect(
      runRestore(instruction({ refuse: '[ -e "$D/xtrabackup_info" ] && rm "$D/ibdata1"; false' }), lab.context()),
    ).rejects.toMatchObject({
      code: 'RestoredServerFailed',
      detail: expect.stringMatching(/started and ended again/),
    });
    expect(await valuesOf()).toEqual([0, 1, 2]);
  });

  it('comes back when the canary of the backup is not in what was restored', async () => {
    // A sound server, but not the one of this backup.
    const refuse = '[ -e "$D/xtrabackup_info" ] && rm -rf "$D/redoubt"; false';
    await expect(runRestore(instruction({ refuse }), lab.context())).rejects.toMatchObject({
      code: 'RestoredServerFailed',
      detail: expect.stringMatching(/canary of \S*i0001/),
    });
    expect(await valuesOf()).toEqual([0, 1, 2]);
  });

  it('stays in its place when the restored one fails and there was none before', async () => {
    await lab.server.kill();
    rmSync(directory, { recursive: true });
    await expect(
      runRestore(instruction({ refuse: '[ -e "$D/xtrabackup_info" ]' }), lab.context()),
    ).rejects.toMatchObject({ code: 'RestoredServerFailed' });
    expect(existsSync(join(directory, 'ibdata1'))).toBe(true);
  });

  it('is not touched when the backup cannot be prepared', async () => {
    const engineDirectory = lab.engineWith('exit 1');
    await expect(runRestore(instruction({ engineDirectory }), lab.context())).rejects.toMatchObject({
      code: 'PrepareFailed',
    });
    expect(await valuesOf()).toEqual([0, 1, 2]);
    expect(movedAside()).toEqual([]);
  });

  it('is not touched when the server keeps its redo elsewhere', async () => {
    await expect(
      runRestore(instruction(), lab.context(), {
        lookAtServer: async () => ({
          version: '10.11.19-MariaDB',
          variables: { datadir: `${directory}/`, innodb_log_group_home_dir: '/var/redo' },
          hasCanary: true,
        }),
      }),
    ).rejects.toMatchObject({ code: 'InvalidInput', detail: expect.stringContaining('innodb_log_group_home_dir') });
    expect(await valuesOf()).toEqual([0, 1, 2]);
  });
});

describe('a run that is told to stop while it replaces a data directory', () => {
  it('puts the old one back and starts its server, before it ends with the reason it was given', async () => {
    const stop = new AbortController();
    const reason = new RedoubtError('RunCancelled', 'the execution was aborted');
    const running = runRestore(
      instruction({ refuse: '[ -e "$D/xtrabackup_info" ] && sleep 600; false' }),
      lab.context({ signal: stop.signal }),
    );
    running.catch(() => undefined);
    await until(() => movedAside().length === 1 && existsSync(directory));
    stop.abort(reason);
    await expect(running).rejects.toBe(reason);
    expect(await valuesOf()).toEqual([0, 1, 2]);
    expect(movedAside()).toEqual([]);
  });
});

describe('an agent that is killed while it replaces a data directory', () => {
  /** Kills a restore in a process of its own once its journal says that the hand-over began and `condition` holds. */
  const killedAt = async (refuse: string, condition: () => boolean): Promise<void> => {
    const child = lab.startChild(instruction({ refuse }));
    await child.reaches(condition);
    child.kill();
    await child.ended;
  };
  /** The start command outlives the agent; it would start a server in the middle of the next run. */
  const endHungStart = () =>
    until(async () => {
      const left = await processesUsing(staging());
      for (const { pid } of left) process.kill(pid, 'SIGKILL');
      return left.length === 0;
    });
  const journal = () => {
    try {
      return JSON.parse(readFileSync(join(staging(), 'journal.json'), 'utf8'));
    } catch {
      return undefined;
    }
  };

  const another = () => instruction({ run: runIdSchema.parse('another-run') });

  it('once the new one is in its place is continued when the same run comes again', async () => {
    // The start hangs: the renames are done, no server answers yet.
    await killedAt('[ ! -e "$D/../go" ] && sleep 600; false', () => movedAside().length === 1 && existsSync(directory));
    expect(journal().swap.direction).toBe('in');
    await endHungStart();
    const inode = statSync(directory).ino;
    await runRestore(instruction(), lab.context());
    expect(await valuesOf()).toEqual([0, 1]);
    expect(statSync(directory).ino).toBe(inode);
    expect(movedAside()).toEqual(['data.redoubt-restore-run']);
  });

  it('once the new one is in its place is no answer to another run: what was done there since is moved aside', async () => {
    await killedAt('[ ! -e "$D/../go" ] && sleep 600; false', () => movedAside().length === 1 && existsSync(directory));
    await endHungStart();
    // The operator starts the server and works on it.
    execFileSync(lab.control().start[0] as string);
    await until(() =>
      valuesOf().then(
        () => true,
        () => false,
      ),
    );
    const connection = await connect();
    await connection.query('INSERT INTO app.t VALUES (99)');
    await connection.end();
    const answer = await runRestore(another(), lab.context());
    expect(await valuesOf()).toEqual([0, 1]);
    expect(answer.movedAside).toBe(`${directory}.redoubt-another-run`);
    expect([...movedAside()].sort()).toEqual(['data.redoubt-another-run', 'data.redoubt-restore-run']);
  });

  it('before anything was moved leaves what is staged to another run', async () => {
    await killedAt('sleep 600; false', () => movedAside().length === 1 && existsSync(directory));
    await endHungStart();
    // As a crash before the first rename would have left it.
    renameSync(directory, join(staging(), 'data'));
    renameSync(join(dirname(directory), movedAside()[0] as string), directory);
    const segments = new Set(lab.taken.flatMap(({ manifest }) => manifest.segments.map(({ key }) => key)));
    const fetched: string[] = [];
    const get = lab.repository.get;
    lab.repository.get = (key, options) => {
      if (segments.has(key)) fetched.push(key);
      return get.call(lab.repository, key, options);
    };
    const answer = await runRestore(another(), lab.context());
    expect(fetched).toEqual([]);
    expect(answer.movedAside).toBe(`${directory}.redoubt-another-run`);
    expect(await valuesOf()).toEqual([0, 1]);
  });

  it('between the two renames is continued by another run of the same restore', async () => {
    await killedAt('sleep 600; false', () => movedAside().length === 1 && existsSync(directory));
    await endHungStart();
    // As a crash one rename earlier would have left it.
    renameSync(directory, join(staging(), 'data'));
    await runRestore(another(), lab.context());
    expect(await valuesOf()).toEqual([0, 1]);
  });

  it('between the two renames gets its old directory back before another restore begins', async () => {
    await killedAt('sleep 600; false', () => movedAside().length === 1 && existsSync(directory));
    await endHungStart();
    renameSync(directory, join(staging(), 'data'));
    const old = readdirSync(join(dirname(directory), movedAside()[0] as string));
    expect(old).toContain('ibdata1');
    await runRestore(instruction({ upTo: 0 }), lab.context());
    expect(lab.log.join('\n')).toMatch(/putting the old one back/);
    expect(await valuesOf()).toEqual([0]);
    // The directory that came back is the one that was moved aside again.
    expect(movedAside()).toEqual(['data.redoubt-restore-run']);
    expect(readdirSync(join(dirname(directory), 'data.redoubt-restore-run', 'app'))).toContain('t.ibd');
  });
});
