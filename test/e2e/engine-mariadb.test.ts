import { execFileSync } from 'node:child_process';
import { createWriteStream, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engineOf } from '#agent/engines/engine.ts';
import { EngineLog } from '#agent/engines/engine-log.ts';
import { runProcess } from '#agent/io/run-process.ts';
import { SecretDirectory } from '#agent/io/secret-directory.ts';
import { readCanary, writeCanary } from '#agent/server/canary.ts';
import { checkPrivileges } from '#agent/server/check-privileges.ts';
import { gtidContained } from '#agent/server/gtid-contained.ts';
import { missingTablespaces } from '#agent/server/missing-tablespaces.ts';
import { probeServer } from '#agent/server/probe-server.ts';
import { ServerConnection } from '#agent/server/server-connection.ts';
import type { ServerFacts } from '#agent/server/server-facts.ts';
import { serverRestarted } from '#agent/server/server-restarted.ts';
import { type Checkpoints, checkpointsFault, parseCheckpoints } from '#core/checkpoints.ts';
import { limitsSchema, serverConfigSchema } from '#core/cluster-config.ts';
import type { RedoubtError } from '#core/errors.ts';
import { lsn } from '#core/lsn.ts';
import type { Canary } from '#core/manifest.ts';
import { type Mariadb, startMariadb } from '#local/mariadb/start-mariadb.ts';

// A real MariaDB 10.11 and its own mariadb-backup, as Debian packages them.

const engine = engineOf('mariadb-backup');
const PASSWORD = `it's "quoted" \\ and # marked`;

let root: string;
let server: Mariadb;
let secrets: SecretDirectory;

const config = () =>
  serverConfigSchema.parse({
    socket: server.socket,
    dataDirectory: server.dataDirectory,
    optionFile: join(root, 'client.cnf'),
  });

const open = (user = 'bk', password: string | undefined = PASSWORD) =>
  ServerConnection.open(server.socket, password === undefined ? { user } : { user, password });

const probe = async (): Promise<ServerFacts> => {
  await using connection = await open();
  return await probeServer(connection, config());
};

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error: RedoubtError) => error.code,
  );

let count = 0;

interface Taken {
  readonly verdict: ReturnType<typeof engine.judge>;
  readonly checkpoints: Checkpoints | undefined;
  readonly directory: string;
  readonly files: readonly string[];
  readonly log: EngineLog;
}

const filesBelow = (directory: string): readonly string[] =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1));

/** Takes a backup as the agent does, into a file, and extracts it; `meanwhile` runs once tables are being copied. */
const take = async (
  options: {
    readonly fromLsn?: bigint;
    readonly password?: string;
    readonly throttle?: number;
    readonly facts?: ServerFacts;
    readonly into?: string;
    readonly meanwhile?: () => Promise<unknown>;
  } = {},
): Promise<Taken> => {
  count += 1;
  const [lsnDirectory, scratchDirectory, directory] = ['lsn', 'scratch', 'out'].map((name) =>
    join(root, `${name}-${count}`),
  ) as [string, string, string];
  for (const made of [lsnDirectory, scratchDirectory, directory]) mkdirSync(made);
  const command = engine.backupCommand(await engine.version(), {
    server: config(),
    facts: options.facts ?? (await probe()),
    credentials: { user: 'bk', password: options.password ?? PASSWORD },
    fromLsn: lsn(options.fromLsn ?? 0n),
    limits: limitsSchema.parse(options.throttle === undefined ? {} : { engineThrottle: options.throttle }),
    options: {},
    lsnDirectory,
    scratchDirectory,
  });
  const log = new EngineLog();
  let copying = () => {};
  const copies = new Promise<void>((resolve) => {
    copying = resolve;
  });
  const running = runProcess(command, {
    secretDirectory: secrets,
    stdout: 'pipe',
    onStderrLine: (line) => {
      log.append(line);
      if (/Streaming .*big/.test(line)) copying();
    },
  });
  const stream = options.into ?? join(root, `${count}.xb`);
  const stored = pipeline(running.stdout, createWriteStream(stream)).catch(() => {});
  if (options.meanwhile) {
    await Promise.race([copies, running.exited]);
    await options.meanwhile();
  }
  const exit = await running.exited;
  await stored;
  const verdict = engine.judge('backup', exit, log);
  if (verdict.kind === 'ok') execFileSync('sh', ['-c', `mbstream -x -C '${directory}' < '${stream}'`]);
  const file = engine.metadataFiles.checkpoints.find((name) => readdirSync(lsnDirectory).includes(name));
  const checkpoints = file && parseCheckpoints(readFileSync(join(lsnDirectory, file), 'utf8'));
  return {
    verdict,
    checkpoints: checkpoints && 'type' in checkpoints ? checkpoints : undefined,
    directory,
    files: filesBelow(directory),
    log,
  };
};

const prepare = async (baseDirectory: string, incrementDirectory: string | undefined, last: boolean) => {
  const commands = engine.prepareCommands(await engine.version(), {
    baseDirectory,
    ...(incrementDirectory === undefined ? {} : { incrementDirectory }),
    last,
    memoryBytes: 64 * 1024 * 1024,
  });
  for (const command of commands) {
    const log = new EngineLog();
    const exit = await runProcess(command, { stdout: 'ignore', onStderrLine: (line) => log.append(line) }).exited;
    const verdict = engine.judge('prepare', exit, log);
    if (verdict.kind !== 'ok') return verdict;
  }
  return { kind: 'ok' } as const;
};

const checkpointsIn = (directory: string) =>
  parseCheckpoints(readFileSync(join(directory, 'xtrabackup_checkpoints'), 'utf8'));

const canaryOf = (number: number): Canary => ({
  backup: `20261122T06${String(number).padStart(2, '0')}00Z-f0000-3f9a1c` as Canary['backup'],
  writtenAt: '2026-11-22T06:00:00.000Z',
});

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'rdb-'));
  server = await startMariadb({
    directory: join(root, 's'),
    options: ['--log-bin=binlog', '--server-id=7', '--innodb-undo-tablespaces=2'],
  });
  secrets = SecretDirectory.create();
  for (const sql of [
    'CREATE DATABASE app',
    'CREATE DATABASE `wei rd$db`',
    'CREATE TABLE app.big (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(1000))',
    "INSERT INTO app.big (v) SELECT REPEAT('x', 1000) FROM mysql.help_topic, mysql.help_category LIMIT 30000",
    'CREATE TABLE app.renamed (id INT PRIMARY KEY)',
    'CREATE TABLE app.truncated (id INT PRIMARY KEY)',
    'CREATE TABLE app.rebuilt (id INT PRIMARY KEY)',
    'CREATE TABLE app.dropped (id INT PRIMARY KEY)',
    'CREATE TABLE app.discarded (id INT PRIMARY KEY)',
    'ALTER TABLE app.discarded DISCARD TABLESPACE',
    'CREATE TABLE app.parts (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2',
    'CREATE TABLE app.words (id INT PRIMARY KEY, t TEXT, FULLTEXT (t))',
    'CREATE TABLE `wei rd$db`.`tä$b` (id INT PRIMARY KEY)',
    'CREATE TABLE app.isam (id INT) ENGINE=MyISAM',
  ])
    await server.query(sql);
  mkdirSync(join(root, 'elsewhere'));
  await server.query(`CREATE TABLE app.away (id INT PRIMARY KEY) DATA DIRECTORY='${join(root, 'elsewhere')}'`);
  await server.query('CREATE USER bk@localhost IDENTIFIED BY ?', [PASSWORD]);
  await server.query('GRANT RELOAD, PROCESS, BINLOG MONITOR, BINLOG ADMIN ON *.* TO bk@localhost');
  await server.query('GRANT SELECT, INSERT, DELETE, CREATE ON redoubt.* TO bk@localhost');
});

afterAll(async () => {
  secrets?.[Symbol.dispose]();
  await server?.stop();
  if (root) rmSync(root, { recursive: true, force: true });
});

describe('the probe of a MariaDB server', () => {
  it('knows who the server is', async () => {
    const facts = await probe();
    expect(facts.identity).toMatchObject({
      dataDirectory: server.dataDirectory,
      flavour: 'mariadb',
      series: '10.11',
      pageSize: 16384,
    });
    expect(facts.identity.uuid).toBe((await server.query('SELECT @@server_uid AS uid'))[0]?.uid);
    expect(facts.pid).toBe(server.pid);
    expect(facts.binlog).toMatchObject({ gtid: expect.stringMatching(/^0-7-\d+$/) });
    expect(facts.readOnly).toBe(false);
    expect(facts.dataBytes).toBeGreaterThan(30_000_000);
  });

  it('lists every tablespace, also those nobody opened since a restart', async () => {
    await server.stop();
    await server.start();
    const paths = (await probe()).tablespaces.map(({ path }) => path);
    expect(paths).toEqual(
      expect.arrayContaining([
        'ibdata1',
        'undo001',
        'app/big.ibd',
        'app/parts#P#p0.ibd',
        'app/away.ibd',
        'mysql/transaction_registry.ibd',
        'wei@0020rd@0024db/t@0k@0024b.ibd',
      ]),
    );
    expect(paths).not.toContain('app/discarded.ibd');
    expect(paths.filter((path) => path.startsWith('app/FTS_'))).not.toHaveLength(0);
  });

  it('moves its LSN forward and keeps its start while the server runs', async () => {
    const before = await probe();
    await server.query('INSERT INTO app.renamed VALUES (1)');
    await sleep(1100);
    const after = await probe();
    expect(after.lsn).toBeGreaterThan(before.lsn);
    expect(serverRestarted(before, after)).toBeUndefined();
    expect(gtidContained('mariadb', after.gtid, before.binlog?.gtid ?? '')).toBe(true);
    expect(gtidContained('mariadb', before.gtid, after.binlog?.gtid ?? '')).toBe(false);
  });

  it('sees a restart', async () => {
    const before = await probe();
    await server.kill();
    await server.start();
    expect(serverRestarted(before, await probe())).toMatch(/the server process was \d+, is \d+/);
  });

  it('refuses a data directory that is not the server’s', async () => {
    await using connection = await open();
    const wrong = probeServer(connection, { ...config(), dataDirectory: join(root, 'elsewhere') });
    expect(await codeOf(wrong)).toBe('DataDirectoryMismatch');
  });

  it('names a wrong password and a server that is not there', async () => {
    expect(await codeOf(open('bk', 'wrong'))).toBe('ServerAccessDenied');
    expect(await codeOf(ServerConnection.open(join(root, 'nothing.sock'), { user: 'bk' }))).toBe('ServerUnreachable');
  });

  it('logs in at the socket as a user the kernel vouches for', async () => {
    await server.query('ALTER USER root@localhost IDENTIFIED VIA unix_socket');
    try {
      await using connection = await open('root', undefined);
      expect(await connection.query('SELECT 1 AS one')).toEqual([{ one: '1' }]);
    } finally {
      await server.query("ALTER USER root@localhost IDENTIFIED VIA mysql_native_password USING ''");
    }
  });
});

describe('the privileges of the backup user', () => {
  const lacking = async (...grants: readonly string[]): Promise<string> => {
    await server.query("CREATE OR REPLACE USER few@localhost IDENTIFIED BY 'x'");
    for (const grant of grants) await server.query(`GRANT ${grant} TO few@localhost`);
    await using connection = await open('few', 'x');
    return await checkPrivileges(connection, { name: 'mariadb-backup', series: '10.11' }).then(
      () => '',
      (error: RedoubtError) => `${error.code}: ${error.detail}`,
    );
  };
  const canary = 'SELECT, INSERT, DELETE, CREATE ON redoubt.*';

  it('are enough', async () => {
    expect(await lacking('RELOAD, PROCESS, BINLOG MONITOR, BINLOG ADMIN ON *.*', canary)).toBe('');
    expect(await lacking('ALL PRIVILEGES ON *.*')).toBe('');
  });

  it('are named where they are missing, with the statement that grants them, which then suffices', async () => {
    const said = await lacking('RELOAD ON *.*');
    expect(said).toBe(
      'PrivilegesMissing: few@localhost lacks PROCESS, BINLOG MONITOR, BINLOG ADMIN, SELECT on redoubt.*, INSERT on redoubt.*, DELETE on redoubt.*, CREATE on redoubt.*: ' +
        "GRANT PROCESS, BINLOG MONITOR, BINLOG ADMIN ON *.* TO 'few'@'localhost'; GRANT SELECT, INSERT, DELETE, CREATE ON redoubt.* TO 'few'@'localhost';",
    );
    for (const statement of said
      .slice(said.indexOf(': GRANT') + 2)
      .split(';')
      .filter((text) => text.trim()))
      await server.query(statement);
    await using connection = await open('few', 'x');
    await checkPrivileges(connection, { name: 'mariadb-backup', series: '10.11' });
  });

  it('count when they come from a role', async () => {
    await server.query('CREATE OR REPLACE ROLE backups');
    await server.query('GRANT RELOAD, PROCESS, BINLOG MONITOR, BINLOG ADMIN ON *.* TO backups');
    await server.query(`GRANT ${canary} TO backups`);
    await server.query("CREATE OR REPLACE USER few@localhost IDENTIFIED BY 'x'");
    await server.query('GRANT backups TO few@localhost');
    await server.query('SET DEFAULT ROLE backups FOR few@localhost');
    await using connection = await open('few', 'x');
    await checkPrivileges(connection, { name: 'mariadb-backup', series: '10.11' });
  });
});

describe('the canary', () => {
  it('stays in the server and out of the binary log', async () => {
    const facts = await probe();
    await using connection = await open();
    expect(await readCanary(connection, canaryOf(1).backup)).toBe('absent');
    expect(await writeCanary(connection, facts, canaryOf(1))).toBe('written');
    expect(await readCanary(connection, canaryOf(1).backup)).toEqual(canaryOf(1));
    expect(await readCanary(connection, canaryOf(2).backup)).toBe('absent');
    expect((await probe()).binlog).toEqual(facts.binlog);
  });

  it('is not written where the server is read-only, and says so', async () => {
    await server.query('SET GLOBAL read_only = ON');
    try {
      await using connection = await open();
      const facts = await probe();
      expect(facts.readOnly).toBe(true);
      expect(await writeCanary(connection, facts, canaryOf(3))).toBe('read-only');
      expect(await readCanary(connection, canaryOf(1).backup)).toEqual(canaryOf(1));
    } finally {
      await server.query('SET GLOBAL read_only = OFF');
    }
  });
});

describe('a backup by mariadb-backup', () => {
  it('is of the version the server needs', async () => {
    const version = await engine.version();
    expect(version.series).toBe('10.11');
    engine.checkSuits(version, await probe());
    expect(() => engine.checkSuits({ version: '10.6.20', series: '10.6' }, server10_11)).toThrow(/10\.6\.20/);
    expect(() => engine.checkSuits({ version: '10.11.1', series: '10.11' }, server10_11)).toThrow(/10\.11\.1/);
  });
  const server10_11 = { version: '10.11.19-MariaDB', identity: { flavour: 'mariadb', series: '10.11' } } as ServerFacts;

  it('restores base and increments to what the server held', async () => {
    const before = await probe();
    const full = await take({ facts: before });
    expect(full.verdict).toEqual({ kind: 'ok' });
    expect(full.checkpoints && checkpointsFault(full.checkpoints, lsn(0n))).toBeUndefined();
    expect(missingTablespaces(before, await probe(), full.files)).toEqual([]);
    expect(full.log.findings('backup')).toEqual([]);

    await server.query('INSERT INTO app.renamed VALUES (2), (3)');
    await server.query('CREATE TABLE app.fresh (id INT PRIMARY KEY)');
    await server.query('INSERT INTO app.fresh VALUES (42)');
    const parent = full.checkpoints?.toLsn ?? lsn(0n);
    const facts = await probe();
    const increment = await take({ fromLsn: parent, facts });
    expect(increment.verdict).toEqual({ kind: 'ok' });
    expect(increment.checkpoints && checkpointsFault(increment.checkpoints, parent)).toBeUndefined();
    expect(missingTablespaces(facts, await probe(), increment.files)).toEqual([]);

    expect(await prepare(full.directory, undefined, false)).toEqual({ kind: 'ok' });
    expect(checkpointsIn(full.directory)).toMatchObject({ type: engine.preparedType(false) });
    expect(await prepare(full.directory, increment.directory, true)).toEqual({ kind: 'ok' });
    expect(checkpointsIn(full.directory)).toMatchObject({ type: engine.preparedType(true) });

    const restored = await startMariadb({ directory: join(root, 'r'), dataDirectory: full.directory });
    try {
      expect(await restored.query('SELECT COUNT(*) AS n FROM app.big')).toEqual(
        await server.query('SELECT COUNT(*) AS n FROM app.big'),
      );
      expect(await restored.query('SELECT * FROM app.renamed')).toEqual(
        await server.query('SELECT * FROM app.renamed'),
      );
      expect(await restored.query('SELECT * FROM app.fresh')).toEqual([{ id: 42 }]);
      expect(await restored.query('SELECT backup FROM redoubt.canary')).toEqual([{ backup: canaryOf(1).backup }]);
    } finally {
      await restored.stop();
    }
  });

  it('leaves no file with the password behind', () => {
    expect(readdirSync(secrets.path)).toEqual([]);
  });

  it('holds every table the server had all the time, whatever DDL runs meanwhile', async () => {
    const before = await probe();
    const taken = await take({
      facts: before,
      throttle: 60,
      meanwhile: async () => {
        await server.query('CREATE TABLE app.created (id INT PRIMARY KEY)');
        await server.query('DROP TABLE app.dropped');
        await server.query('RENAME TABLE app.renamed TO app.with_new_name');
        await server.query('TRUNCATE TABLE app.truncated');
        await server.query('ALTER TABLE app.rebuilt ADD COLUMN b INT, ALGORITHM=COPY');
      },
    });
    expect(taken.verdict).toEqual({ kind: 'ok' });
    await server.query('CREATE TABLE app.afterwards (id INT PRIMARY KEY)');
    const after = await probe();
    expect(missingTablespaces(before, after, taken.files)).toEqual([]);
    const without = (table: string) => taken.files.filter((file) => !file.startsWith(`app/${table}.`));
    for (const table of ['big', 'truncated', 'rebuilt'])
      expect(missingTablespaces(before, after, without(table)).map(({ path }) => path)).toEqual([`app/${table}.ibd`]);
    expect(missingTablespaces(before, after, without('renamed')).map(({ path }) => path)).toEqual([
      'app/with_new_name.ibd',
    ]);
  });

  it('asked from an LSN of the future is an increment the checkpoints give away', async () => {
    const taken = await take({ fromLsn: 99_999_999_999n });
    expect(taken.verdict).toEqual({ kind: 'ok' });
    expect(taken.checkpoints && checkpointsFault(taken.checkpoints, lsn(99_999_999_999n))).toMatch(/is below from_lsn/);
  });

  it('of another data directory is refused by the engine’s own warning', async () => {
    const facts = await probe();
    const taken = await take({ facts: { ...facts, identity: { ...facts.identity, dataDirectory: root } } });
    expect(taken.verdict).toMatchObject({ kind: 'refused', code: 'DataDirectoryMismatch' });
  });

  it('with a wrong password is refused by name', async () => {
    expect((await take({ password: 'wrong' })).verdict).toMatchObject({ kind: 'refused', code: 'ServerAccessDenied' });
  });

  it('of a server that is killed meanwhile is refused, and nothing claims to be a backup', async () => {
    const taken = await take({ throttle: 20, meanwhile: () => server.kill() });
    await server.start();
    expect(taken.verdict).toMatchObject({ kind: 'refused', code: 'ServerRestarted' });
    expect(taken.checkpoints).toBeUndefined();
  });

  it('of a server that restarts meanwhile is refused', async () => {
    const taken = await take({
      throttle: 20,
      meanwhile: async () => {
        await server.stop();
        await server.start();
      },
    });
    expect(taken.verdict).toMatchObject({ kind: 'refused', code: 'ServerRestarted' });
  });

  it('prepares to nothing where a tablespace is missing', async () => {
    await server.query('UPDATE app.big SET v = 1 WHERE id < 100');
    const full = await take();
    rmSync(join(full.directory, 'app', full.files.includes('app/big.ibd') ? 'big.ibd' : 'big.new'));
    expect(await prepare(full.directory, undefined, true)).toMatchObject({
      kind: 'refused',
      code: 'PrepareIncomplete',
    });
  });

  it('ignores what the host’s option files say when it prepares', async () => {
    const full = await take();
    const home = join(root, 'home');
    mkdirSync(home);
    writeFileSync(join(home, '.my.cnf'), '[mysqld]\ninnodb_page_size=4096\n[mariadb-backup]\ninnodb_page_size=4096\n');
    const was = process.env.HOME;
    process.env.HOME = home;
    try {
      expect(await prepare(full.directory, undefined, true)).toEqual({ kind: 'ok' });
    } finally {
      process.env.HOME = was;
    }
  });
});
