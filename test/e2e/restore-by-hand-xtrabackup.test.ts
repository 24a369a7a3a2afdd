import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ClusterId, clusterIdSchema } from '#core/ids.ts';
import { XtrabackupLab } from '#test/agent/keyring/xtrabackup-lab.ts';
import { describeWhere } from '#test/contract/xtrabackup/describe-where.ts';
import { engineHome, whyNotVersion } from '#test/contract/xtrabackup/engine-home.ts';
import { ByHandLab } from './by-hand-lab.ts';

// INV-8, with the stand-in or the installation REDOUBT_XTRABACKUP_HOME names.

const [vault, ledger] = [clusterIdSchema.parse('vault'), clusterIdSchema.parse('ledger')];

let lab: ByHandLab;

beforeAll(async () => {
  lab = await ByHandLab.create(vault, ledger);
});
afterAll(() => lab?.close());

describe('docs/restore-by-hand.md, for a MySQL with encrypted tables', () => {
  const servers: XtrabackupLab[] = [];
  afterAll(async () => {
    for (const mysql of servers) await mysql.close();
  });

  /** A full and two increments of a server whose master key is rotated before each increment; then its keyring is lost. */
  const chainOf = async (mysql: XtrabackupLab, cluster: ClusterId, more: object) => {
    servers.push(mysql);
    const { server, chain, directory: at } = mysql;
    await lab.applyCluster(
      cluster,
      {
        socket: server.files.socket,
        dataDirectory: server.files.dataDirectory,
        optionFile: chain.optionFile,
      },
      { engine: 'xtrabackup', limits: { prepareMemory: 64 * 1024 * 1024 }, ...more },
    );
    await lab.backUp(cluster);
    for (const _ of [1, 2]) {
      await mysql.rotate();
      await server.stayDirty();
      await mysql.addRows('enc', 200);
      await mysql.addRows('plain', 50);
      await lab.backUp(cluster);
    }
    const sums = await mysql.sums();
    renameSync(mysql.keyring, join(at, 'lost'));
    return sums;
  };

  const serverOptions = (keyring: string): string =>
    [
      '[mysqld]',
      `basedir=${engineHome}`,
      `lc-messages-dir=${join(engineHome, 'share')}`,
      `plugin-dir=${join(engineHome, 'lib/plugin')}`,
      'early-plugin-load=keyring_file.so',
      `keyring_file_data=${keyring}`,
      'innodb-log-file-size=5M',
      '',
    ].join('\n');

  it('brings back a chain that the engine encrypted, with the escrowed keyrings', async () => {
    const mysql = await XtrabackupLab.create();
    const sums = await chainOf(mysql, vault, {
      engineDirectory: join(engineHome, 'bin'),
      encryption: { mode: 'native' },
      tablespaceEncryption: { kind: 'keyring-file', path: mysql.keyring },
    });
    const restored = await lab.restore({
      engine: 'XtraBackup',
      cluster: vault,
      serverOptions,
      path: [join(engineHome, 'bin')],
    });
    expect(restored.status, restored.said).toBe(0);
    expect(await mysql.sumsIn(restored.dataDirectory, restored.keyring)).toBe(sums);
  });

  const version = '8.0.35';
  describeWhere(whyNotVersion(version), `XtraBackup ${version}`, () => {
    it('brings back a chain with a transition key, under a new master key', async () => {
      const mysql = await XtrabackupLab.create({ version });
      const sums = await chainOf(mysql, ledger, {
        engineDirectory: join(mysql.directory, 'bin'),
        encryption: { mode: 'native-and-sealed' },
        tablespaceEncryption: { kind: 'keyring-file', path: mysql.keyring, transition: 'passphrase' },
      });
      const restored = await lab.restore({
        engine: 'XtraBackup',
        cluster: ledger,
        serverOptions,
        path: [join(mysql.directory, 'bin'), join(engineHome, 'bin')],
        environment: { REDOUBT_STANDIN_VERSION: version },
      });
      expect(restored.status, restored.said).toBe(0);
      expect(await mysql.sumsIn(restored.dataDirectory, restored.keyring)).toBe(sums);
    });
  });
});
