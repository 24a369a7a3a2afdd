import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Manifest } from '#core/manifest.ts';
import { type Mariadb, PLUGIN_DIRECTORY, startMariadb } from '#local/mariadb/start-mariadb.ts';
import { LeakLab } from '#test/leaks/leak-lab.ts';
import { type LeakWatch, toldToProcesses } from '#test/leaks/leak-watch.ts';
import { needlesOf, type Secret } from '#test/leaks/needles.ts';
import { inPlaces, type Place } from '#test/leaks/place.ts';
import type { Sampled } from '#test/leaks/sampler-process.ts';
import { filesBelow, searchFiles } from '#test/leaks/search-files.ts';

// The whole product on one machine, with a real MariaDB whose tables are encrypted: a full, a rotation, an increment and a restore that
// replaces the data directory and brings the key file back, watched from beginning to end.

const PASSWORD = 'Vm4-leak-canary-password-17';
const cluster = 'leak-mariadb';
const instance = 'i-0d5e8c2f4a7b91036';

let directory: string;
let server: Mariadb;
let lab: LeakLab;
let hold: string;
const sampled: Sampled[] = [];
const secrets: Secret[] = [];
let watch: LeakWatch;
/** What the engine recorded in the server. */
let recorded: readonly Readonly<Record<string, unknown>>[];

/** Writes the operator's key file with these keys in it. */
const writeKeys = (keyFile: string, fileKey: string, keys: readonly Buffer[]): void => {
  execFileSync('openssl', ['enc', '-aes-256-cbc', '-md', 'sha1', '-pass', `file:${fileKey}`, '-out', keyFile], {
    input: keys.map((key, index) => `${index + 1};${key.toString('hex')}\n`).join(''),
    stdio: ['pipe', 'ignore', 'ignore'],
  });
};

/** What systemd would be told: starts the server on the restored directory, with the same keys. */
const writeStart = (keyFile: string, fileKey: string): readonly string[] => {
  const script = join(directory, 'start.sh');
  writeFileSync(
    script,
    `#!/bin/sh
mariadbd --no-defaults --user=${userInfo().username} --datadir='${server.dataDirectory}' --socket='${server.socket}' --pid-file='${directory}/started.pid' \\
  --skip-networking --innodb-buffer-pool-size=64M --log-bin=binlog --server-id=1 --plugin-dir='${PLUGIN_DIRECTORY}' \\
  --plugin-load-add=file_key_management --file-key-management-filename='${keyFile}' --file-key-management-filekey='FILE:${fileKey}' \\
  --file-key-management-encryption-algorithm=aes_ctr --innodb-encrypt-log=ON </dev/null >'${directory}/started.log' 2>&1 &
`,
    { mode: 0o755 },
  );
  return [script];
};

/** An engine that writes down what it was given, and that waits before a backup for as long as the file `hold` is there. */
const writeEngine = (): string => {
  const engineDirectory = join(directory, 'engine');
  mkdirSync(engineDirectory);
  for (const program of ['mariadb-backup', 'mbstream'])
    writeFileSync(
      join(engineDirectory, program),
      `#!/bin/sh
${lab.recordingLine}
case " $* " in *" --backup "*) while [ -e '${hold}' ]; do sleep 0.05; done ;; esac
exec ${program} "$@"
`,
      { mode: 0o755 },
    );
  return engineDirectory;
};

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'lk-'));
  hold = join(directory, 'hold');
  const [keyFile, fileKey, optionFile] = ['keys.enc', 'keys.key', 'client.cnf'].map((name) =>
    join(directory, name),
  ) as [string, string, string];
  const keys = [1, 2, 3].map(() => randomBytes(32));
  const password = randomBytes(24).toString('hex');
  writeFileSync(fileKey, password, { mode: 0o600 });
  writeKeys(keyFile, fileKey, keys.slice(0, 2));
  const encryption = { keyFile, keyFileKey: fileKey };
  server = await startMariadb({
    directory: join(directory, 's'),
    encryption,
    options: ['--log-bin=binlog', '--server-id=1'],
  });
  await server.query('CREATE DATABASE app');
  await server.query('CREATE TABLE app.t (i INT PRIMARY KEY, t TEXT) ENCRYPTED=YES ENCRYPTION_KEY_ID=2');
  await server.query("INSERT INTO app.t SELECT seq, REPEAT('x', 100) FROM app.seq_1_to_2000");
  // The operator's own binary log would have the password.
  await server.query('SET sql_log_bin = 0');
  await server.query(`CREATE USER backup@localhost IDENTIFIED BY '${PASSWORD}'`);
  await server.query('GRANT RELOAD, PROCESS, BINLOG MONITOR, BINLOG ADMIN ON *.* TO backup@localhost');
  await server.query('GRANT SELECT, INSERT, DELETE, CREATE ON redoubt.* TO backup@localhost');
  await server.query('GRANT CREATE, ALTER, INSERT, SELECT ON mysql.mariadb_backup_history TO backup@localhost');
  await server.query('SET sql_log_bin = 1');
  writeFileSync(optionFile, `[client]\nuser=backup\npassword=${PASSWORD}\n`, { mode: 0o600 });
  secrets.push(
    ...keys.map((bytes, index) => ({ name: `key ${index + 1} of the key file`, bytes })),
    { name: 'the key of the key file', bytes: Buffer.from(password) },
    { name: 'the password', bytes: Buffer.from(PASSWORD) },
  );

  lab = await LeakLab.create({ directory, cluster, instance, exempt: [optionFile, keyFile, fileKey] });
  watch = await lab.watch(secrets, server.dataDirectory);
  await lab.apply({
    engine: 'mariadb-backup',
    engineDirectory: writeEngine(),
    server: {
      socket: server.socket,
      dataDirectory: server.dataDirectory,
      optionFile,
      owner: userInfo().username,
      control: {
        kind: 'command',
        start: writeStart(keyFile, fileKey),
        stop: [
          '/bin/sh',
          '-c',
          `kill $(cat '${directory}/started.pid' '${join(server.directory, 'mysqld.pid')}' 2>/dev/null)`,
        ],
      },
    },
    tablespaceEncryption: { kind: 'file-key-management', path: keyFile, keyFileKey: fileKey },
    history: { incrementBy: 'uuid' },
  });
  await lab.redoubt('backup', cluster, '--wait');
  // Nobody but the agent has seen it so far: what the full left of it is found in the end, and the rest is watched for it, too.
  const [full] = await lab.manifests();
  await knowDataKey(full);
  sampled.push(await watch.end());
  watch = await lab.watch(secrets, server.dataDirectory);
  // MariaDB's way to rotate: another key in the file, and tables that move to it.
  await server.stop();
  writeKeys(keyFile, fileKey, keys);
  await server.start();
  await server.query('ALTER TABLE app.t ENCRYPTION_KEY_ID=3');
  await lab.redoubt('backup', cluster, '--wait');
  recorded = await server.query('SELECT * FROM mysql.mariadb_backup_history');
  for (const path of [keyFile, fileKey]) rmSync(path);
  await lab.redoubt(...`restore ${cluster} --to latest --mode replace --confirm ${cluster} --wait`.split(' '));
}, 240_000);

afterAll(async () => {
  rmSync(hold, { force: true });
  await lab?.close();
  await server?.stop();
  try {
    process.kill(Number(readFileSync(join(directory, 'started.pid'), 'utf8')), 'SIGKILL');
  } catch {
    // It does not run.
  }
  rmSync(directory, { recursive: true, force: true });
});

const knowDataKey = async (manifest: Manifest | undefined): Promise<void> => {
  const { 'backup-data': bytes } = await lab.keysOf(manifest);
  secrets.push({ name: 'a data key', bytes: bytes as Buffer });
};

const agentsAtWork = (): readonly number[] =>
  readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .flatMap((pid) => {
      try {
        const [program, command] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return program?.startsWith(directory) && command === 'run' ? [Number(pid)] : [];
      } catch {
        return [];
      }
    });

const until = async (what: string, holds: () => boolean): Promise<void> => {
  for (const deadline = Date.now() + 60_000; !holds(); await sleep(20))
    if (Date.now() > deadline) throw new Error(`it did not come to this: ${what}`);
};

const fieldOf = (text: string, name: string): string | undefined =>
  new RegExp(`^${name}:?\\s+(\\S+)`, 'm').exec(text)?.[1];

describe('an agent that is killed together with the guardian of its secrets', () => {
  it('has nothing on a disk and no core file; the next run removes what it had in memory', async () => {
    writeFileSync(hold, '');
    const backupsBefore = lab.records().filter((text) => text.includes('--backup')).length;
    const run = JSON.parse(await lab.redoubt('backup', cluster, '--json')).run as string;
    await until('the engine waits', () => {
      const backups = lab.records().filter((text) => text.includes('--backup'));
      return backups.length > backupsBefore && backups.every((text) => /^0{8}$/m.test(text));
    });
    const [agent = 0] = agentsAtWork();
    const [place] = readdirSync('/dev/shm').filter((name) => name.startsWith(`redoubt-${agent}-`));
    const inMemory = join('/dev/shm', String(place));
    // The engine was given them there.
    expect(searchFiles(filesBelow(inMemory), needlesOf(secrets)).join('\n')).toContain('the password, raw');
    expect(fieldOf(readFileSync(`/proc/${agent}/limits`, 'utf8'), 'Max core file size')).toBe('0');
    // Nobody may be let in by SIGUSR1, which would start Node's debugger.
    const caught = BigInt(`0x${fieldOf(readFileSync(`/proc/${agent}/status`, 'utf8'), 'SigCgt')}`);
    expect(caught & (1n << 9n)).toBe(0n);

    const guardians = readdirSync('/proc').filter((pid) => {
      try {
        return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${inMemory}\0`);
      } catch {
        return false;
      }
    });
    expect(guardians).toHaveLength(1);
    for (const pid of [...guardians.map(Number), agent]) process.kill(pid, 'SIGKILL');
    await until('the agent is gone', () => agentsAtWork().length === 0);
    expect(existsSync(inMemory)).toBe(true);
    expect(lab.inFiles(secrets)).toEqual([]);
    await expect(lab.redoubt('watch', run)).rejects.toThrow(/AgentDied/);

    rmSync(hold);
    await lab.redoubt('backup', cluster, '--wait');
    expect(existsSync(inMemory)).toBe(false);
    expect(readdirSync(lab.scratch)).toEqual([]);
  });
});

describe('backups and a restore of a MariaDB with encrypted tables, from the command line to the bucket', () => {
  let shown: readonly Place[];
  let opened: readonly Place[];

  beforeAll(async () => {
    sampled.push(await watch.end());
    // What follows a restore in place is a chain of its own.
    await knowDataKey((await lab.manifests()).at(-1));
    shown = await lab.shown();
    opened = await lab.opened();
  });

  it('have happened, with keys that can be looked for', async () => {
    expect((await lab.manifests()).map(({ kind }) => kind)).toEqual(['full', 'incremental', 'full']);
    expect(shown[0]?.content.toString()).toMatch(/^moved aside /m);
    for (const word of ['redoubt-agent', '--backup', '--prepare'])
      expect(
        sampled.some(({ texts }) => texts.some((text) => text.includes(word))),
        word,
      ).toBe(true);
    for (const { bytes } of secrets) expect(bytes.length).toBeGreaterThan(20);
  });

  it('tell no process a secret', () => {
    for (const sample of sampled) expect(toldToProcesses(sample, secrets)).toEqual([]);
  });

  it('let no engine write a core file', () => {
    const started = lab.records().filter((text) => /^--(backup|prepare)$/m.test(text));
    expect(started.length).toBeGreaterThanOrEqual(5);
    for (const text of started) {
      expect(text).toMatch(/^Max core file size\s+0\s+0\s/m);
      // No memory at all, where cores go to a program that asks for no limit.
      expect(text).toMatch(/^0{8}$/m);
    }
  });

  it('leave none in any file, not even for a while', () => {
    for (const { inFiles } of sampled) expect(inFiles).toEqual([]);
  });

  it('leave none in bucket, catalog, histories, commands, logs, on the host or in the restored directory', () => {
    expect(existsSync(server.dataDirectory)).toBe(true);
    expect(lab.inFiles(secrets)).toEqual([]);
    expect(inPlaces(shown, secrets)).toEqual([]);
  });

  it('leave none in what the engine says of itself, inside of the seal', () => {
    const infos = opened.filter(({ name }) => /_info of (full|incremental)$/.test(name));
    expect(infos.map(({ content }) => content.toString()).join('\n')).toMatch(/tool_command = .*--backup/);
    expect(opened.map(({ name }) => name)).toContain('engine log of full');
    expect(inPlaces(opened, secrets)).toEqual([]);
  });

  it('leave none in the history that the engine keeps in the server', () => {
    expect(recorded.map(({ tool_command }) => tool_command)).toEqual(
      Array(2).fill(expect.stringContaining('--backup')),
    );
    expect(
      inPlaces([{ name: 'history of the server', content: Buffer.from(JSON.stringify(recorded)) }], secrets),
    ).toEqual([]);
  });

  it('leave nothing on tmpfs', () => {
    const left = readdirSync('/dev/shm').filter((name) => name.startsWith('redoubt-'));
    expect(
      searchFiles(
        left.flatMap((name) => filesBelow(join('/dev/shm', name))),
        needlesOf(secrets),
      ),
    ).toEqual([]);
  });

  it('show the tokens of a run to the host alone', async () => {
    expect(await lab.strayTokens(shown)).toEqual([]);
  });
});
