import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serverConfigSchema } from '#core/cluster-config.ts';
import { engineOptionsSchema, MARIADB_OPTIONS } from '#core/engine-options.ts';
import { type Mariadb, startMariadb } from '#local/mariadb/start-mariadb.ts';
import { ChainLab, failureOf } from '#test/agent/keyring/chain-lab.ts';
import { XtrabackupLab } from '#test/agent/keyring/xtrabackup-lab.ts';
import { describeWhere } from '#test/contract/xtrabackup/describe-where.ts';
import { whyNotComponent, whyNotVersion } from '#test/contract/xtrabackup/engine-home.ts';

const OPTIONS = engineOptionsSchema.parse({
  slaveInfo: true,
  safeSlaveBackup: true,
  safeSlaveBackupTimeout: 5,
  ftwrlWaitTimeout: 30,
  ftwrlWaitThreshold: 10,
  ftwrlWaitQueryType: 'update',
  killLongQueriesTimeout: 20,
  killLongQueryType: 'select',
});

describe('a real MariaDB', () => {
  let lab: ChainLab;
  let server: Mariadb;

  beforeAll(async () => {
    lab = new ChainLab({ engine: 'mariadb-backup' });
    server = await startMariadb({ directory: join(lab.directory, 's') });
    lab.server = serverConfigSchema.parse({
      socket: server.socket,
      dataDirectory: server.dataDirectory,
      optionFile: lab.optionFile,
      owner: 'root',
    });
  }, 60_000);
  afterAll(async () => {
    await server?.stop();
    lab?.dispose();
  });

  it('is backed up with every option that is said to be known, and restores', async () => {
    expect(Object.keys(OPTIONS).concat('galeraInfo').toSorted()).toEqual([...MARIADB_OPTIONS].toSorted());
    for (const engineOptions of [OPTIONS, { galeraInfo: true }]) {
      lab.newChain();
      await lab.backup({ engineOptions });
    }
    await lab.restore({ directory: join(lab.directory, 'restored') });
  });

  it('is not backed up with an option of another engine', async () => {
    lab.newChain();
    expect(await failureOf(lab.backup({ engineOptions: { lockDdl: true } }))).toMatch(
      /^OptionUnsupported: engineOptions\.lockDdl: mariadb-backup \S+ has no --lock-ddl; leave it out$/,
    );
  });
});

for (const version of ['2.4.29', '8.0.35', '8.4.0'])
  describeWhere(
    whyNotVersion(version) ?? (version === '2.4.29' ? undefined : whyNotComponent()),
    `XtraBackup ${version}`,
    () => {
      let lab: XtrabackupLab;
      beforeAll(async () => {
        lab = await XtrabackupLab.create({ version, component: version !== '2.4.29' });
      }, 60_000);
      afterAll(async () => {
        await lab?.close();
      });

      it('knows every option it is given, and restores', async () => {
        const engineOptions = { ...OPTIONS, lockDdl: version === '2.4.29', lockDdlTimeout: 60 };
        await lab.chain.backup({ engineOptions });
        await lab.chain.backup({ engineOptions });
        await lab.chain.restore({ directory: lab.fresh('restored') });
      });

      it('is never given an option of a later version', async () => {
        lab.chain.newChain();
        expect(await failureOf(lab.chain.backup({ engineOptions: { registerRedoLogConsumer: true } }))).toMatch(
          version === '2.4.29'
            ? /^OptionUnsupported: engineOptions\.registerRedoLogConsumer: xtrabackup 2\.4\.29 has no --register/
            : /^no error$/,
        );
      });
    },
  );
