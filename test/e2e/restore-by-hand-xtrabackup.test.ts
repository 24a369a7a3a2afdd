import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ClusterId, clusterIdSchema } from '#core/ids.ts';
import { XtrabackupLab } from '#test/agent/keyring/xtrabackup-lab.ts';
import { describeWhere } from '#test/contract/xtrabackup/describe-where.ts';
import { engineHome, programPath, whyNotComponent, whyNotVersion } from '#test/contract/xtrabackup/engine-home.ts';
import { ByHandLab } from './by-hand-lab.ts';

// INV-8, with the stand-in or the installation REDOUBT_XTRABACKUP_HOME names.

const clusters = ['vault', 'ledger', 'safe', 'quay', 'till'].map((name) => clusterIdSchema.parse(name));
const [vault, ledger, safe, quay, till] = clusters as [ClusterId, ClusterId, ClusterId, ClusterId, ClusterId];

let lab: ByHandLab;

beforeAll(async () => {
  lab = await ByHandLab.create(...clusters);
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

  const later = '8.4.0';
  describeWhere(whyNotVersion(later) ?? whyNotComponent(), `XtraBackup ${later}`, () => {
    it.each([
      ['none', safe],
      ['passphrase', quay],
      ['generated', till],
    ] as const)(
      'brings back a chain of a server whose keyring is a component, transition %s',
      async (transition, cluster) => {
        const mysql = await XtrabackupLab.create({ version: later, component: true });
        const engineDirectory = join(mysql.directory, 'bin');
        const sums = await chainOf(mysql, cluster, {
          engineDirectory,
          tablespaceEncryption: { kind: 'component-keyring-file', path: mysql.keyring, transition },
        });
        const programs = lab.fresh('bin');
        mkdirSync(programs);
        /** What the page leaves to its reader: the component's own files, put there before the server starts. */
        const configured = (keyring: string): string => {
          const files = {
            'mysqld.my': { components: 'file://component_keyring_file' },
            'component_keyring_file.cnf': { path: keyring, read_only: false },
          };
          const write = Object.entries(files).map(([name, text]) => `echo '${JSON.stringify(text)}' >"$D/${name}"`);
          writeFileSync(
            join(programs, 'mysqld'),
            `#!/bin/sh
for argument in "$@"; do case "$argument" in --datadir=*) D="\${argument#*=}";; esac; done
${write.join('\n')}
exec '${programPath('mysqld')}' "$@"
`,
            { mode: 0o755 },
          );
          return serverOptions(keyring).replace(/^(early-plugin-load|keyring_file_data)=.*\n/gm, '');
        };
        const restored = await lab.restore({
          engine: 'XtraBackup',
          cluster,
          serverOptions: configured,
          path: [programs, engineDirectory, join(engineHome, 'bin')],
          environment: { REDOUBT_STANDIN_VERSION: later },
        });
        expect(restored.status, restored.said).toBe(0);
        expect(await mysql.sumsIn(restored.dataDirectory, restored.keyring)).toBe(sums);
      },
    );
  });
});
