import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { serverConfigSchema } from '#core/cluster-config.ts';
import { type Mariadb, startMariadb } from '#local/mariadb/start-mariadb.ts';
import { ChainLab, failureOf } from '#test/agent/keyring/chain-lab.ts';
import { XtrabackupLab } from '#test/agent/keyring/xtrabackup-lab.ts';

// `--history`, with a real MariaDB 10.11, and with XtraBackup: the stand-in, or the installation REDOUBT_XTRABACKUP_HOME names.

type Row = Readonly<Record<string, unknown>>;

interface World {
  readonly chain: ChainLab;
  readonly table: string;
  readonly query: (sql: string) => Promise<readonly Row[]>;
  readonly addRows: () => Promise<unknown>;
  readonly close: () => Promise<unknown>;
}

const mysqlWorld = async (): Promise<World> => {
  const lab = await XtrabackupLab.create();
  return {
    chain: lab.chain,
    table: 'PERCONA_SCHEMA.xtrabackup_history',
    query: (sql) => lab.server.query(sql),
    addRows: () => lab.addRows('enc', 50),
    close: () => lab.close(),
  };
};

const mariadbWorld = async (): Promise<World> => {
  const chain = new ChainLab({ engine: 'mariadb-backup' });
  const server: Mariadb = await startMariadb({
    directory: join(chain.directory, 's'),
    options: ['--log-bin=binlog', '--server-id=1'],
  });
  chain.server = serverConfigSchema.parse({
    socket: server.socket,
    dataDirectory: server.dataDirectory,
    optionFile: chain.optionFile,
    owner: 'root',
  });
  await server.query('CREATE DATABASE app');
  await server.query('CREATE TABLE app.t (i INT AUTO_INCREMENT PRIMARY KEY, t TEXT)');
  return {
    chain,
    table: 'mysql.mariadb_backup_history',
    query: async (sql) => (await server.query(sql)) as readonly Row[],
    addRows: () => server.query(`INSERT INTO app.t (t) VALUES ('${randomBytes(200).toString('hex')}')`),
    close: async () => {
      await server.stop();
      chain.dispose();
    },
  };
};

describe.each([
  ['xtrabackup', mysqlWorld],
  ['mariadb-backup', mariadbWorld],
] as const)('the backup history of the server, with %s', (engine, start) => {
  let world: World;
  let restored = 0;

  beforeAll(async () => {
    world = await start();
  }, 60_000);
  afterAll(async () => {
    await world?.close();
  });
  beforeEach(() => {
    world.chain.newChain();
    world.chain.log.splice(0);
  });

  const records = (name: string) =>
    world.query(
      `SELECT uuid, tool_command, innodb_from_lsn, innodb_to_lsn FROM ${world.table} WHERE name = '${name}' ORDER BY innodb_to_lsn`,
    );

  it.each(['lsn', 'name', 'uuid'] as const)(
    'holds every backup of a chain whose increments are taken by %s, and the chain restores',
    async (incrementBy) => {
      const { chain } = world;
      chain.history = { name: `by-${incrementBy}`, incrementBy };
      for (let count = 0; count < 3; count++) {
        await world.addRows();
        await chain.backup();
      }
      const rows = await records(`by-${incrementBy}`);
      expect(new Set(rows.map(({ uuid }) => uuid))).toEqual(
        new Set(chain.taken.map(({ manifest }) => manifest.engine.uuid)),
      );
      for (const [index, { manifest }] of chain.taken.entries())
        expect(manifest.checkpoints.fromLsn).toBe(chain.taken[index - 1]?.manifest.checkpoints.toLsn ?? 0n);
      const found = incrementBy === 'lsn' ? '--incremental-lsn=' : `--incremental-history-${incrementBy}=`;
      const last = rows.find(({ uuid }) => uuid === chain.taken.at(-1)?.manifest.engine.uuid);
      expect(String(last?.tool_command)).toContain(found);
      expect(chain.log.join()).not.toContain('[History]');
      restored += 1;
      await chain.restore({ directory: join(chain.directory, `restored-${restored}`) });
    },
  );

  it('cannot lead an increment astray: an edited, a foreign and a missing record are refused', async () => {
    const { chain } = world;
    chain.history = { name: 'astray', incrementBy: 'uuid' };
    await chain.backup();
    await world.addRows();
    const { uuid } = chain.taken[0]?.manifest.engine ?? {};
    const to = chain.taken[0]?.manifest.checkpoints.toLsn ?? 0n;
    await world.query(`UPDATE ${world.table} SET innodb_to_lsn = ${to + 1n} WHERE uuid = '${uuid}'`);
    expect(await failureOf(chain.backup())).toMatch(/^ChainBroken: .* has LSN \d+ for uuid /);
    await world.query(`DELETE FROM ${world.table} WHERE uuid = '${uuid}'`);
    expect(await failureOf(chain.backup())).toMatch(/^ChainBroken: .* has no LSN for uuid /);
    // Another tool, or a backup that Redoubt refused after the engine had recorded it.
    await world.query(
      `INSERT INTO ${world.table} (uuid, name, innodb_to_lsn) VALUES ('foreign-${to}', 'astray', ${to + 5n})`,
    );
    chain.history = { name: 'astray', incrementBy: 'name' };
    expect(await failureOf(chain.backup())).toMatch(/^ChainBroken: .* has LSN \d+ for name astray/);
    chain.history = { name: 'astray', incrementBy: 'lsn' };
    await chain.backup();
  });

  it('needs privileges that are named early, and those named are enough', async () => {
    const { chain } = world;
    chain.history = { name: 'poor', incrementBy: 'uuid' };
    await world.query("CREATE USER 'poor'@'localhost' IDENTIFIED BY 'x'");
    writeFileSync(chain.optionFile, '[client]\nuser=poor\npassword=x\n', { mode: 0o600 });
    try {
      const refusal = await failureOf(chain.backup());
      expect(refusal).toMatch(new RegExp(`^PrivilegesMissing: .*INSERT on (${world.table}|PERCONA_SCHEMA\\.\\*)`));
      for (const [statement] of refusal.matchAll(/GRANT [^;]+/g)) await world.query(statement);
      await chain.backup();
      await chain.backup();
    } finally {
      writeFileSync(chain.optionFile, '[client]\nuser=root\n', { mode: 0o600 });
    }
    expect(await records('poor')).toHaveLength(2);
  });

  it('holds no secret: not in the command line the engine keeps there', async () => {
    const { chain } = world;
    chain.history = { name: 'secrets', incrementBy: 'lsn' };
    if (engine === 'xtrabackup') chain.encryption = { mode: 'native', algorithm: 'AES256' };
    await chain.backup();
    chain.encryption = { mode: 'sealed', algorithm: 'AES256' };
    const [row] = await records('secrets');
    const command = String(row?.tool_command);
    expect(command).toContain('--history=secrets');
    for (const key of Object.values(chain.keys))
      for (const form of ['hex', 'base64', 'base64url', 'latin1'] as const)
        expect(command.includes(key.toString(form))).toBe(false);
  });
});
