import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import S3Object from '@20minutes/s3rver/lib/models/object.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type ControlPlane, findControlPlane } from '#cli/control-plane.ts';
import { processContext, runCli } from '#cli/run-cli.ts';
import { type ClusterId, clusterIdSchema } from '#core/ids.ts';
import { ObjectStore } from '#local/cloud/s3/object-store.ts';
import { agentDirectoryOf, type LocalControlPlane, type LocalHost, startControlPlane } from '#local/control-plane.ts';
import { type Mariadb, PLUGIN_DIRECTORY, startMariadb } from '#local/mariadb/start-mariadb.ts';
import { XtrabackupLab } from '#test/agent/keyring/xtrabackup-lab.ts';
import { describeWhere } from '#test/contract/xtrabackup/describe-where.ts';
import { engineHome, whyNotVersion } from '#test/contract/xtrabackup/engine-home.ts';
import { commandsOf } from '#test/docs/restore-by-hand-page.ts';

// INV-8. Backups are taken by the product; then there is only what docs/restore-by-hand.md prints, in bash, as it stands.

const owner = userInfo().username;
const [shop, vault, ledger] = ['shop', 'vault', 'ledger'].map((name) => clusterIdSchema.parse(name)) as [
  ClusterId,
  ClusterId,
  ClusterId,
];

let directory: string;
let controlPlane: LocalControlPlane;
let api: ControlPlane;
const hosts = new Map<ClusterId, LocalHost>();
let count = 0;

/** A path that nothing has, short enough for a socket below it. */
const fresh = (name: string): string => {
  count += 1;
  return join(directory, `${name}${count}`);
};

const redoubt = async (...words: readonly string[]): Promise<void> => {
  const said: string[] = [];
  const keep = (text: string): void => void said.push(text);
  const exit = await runCli(words, {
    ...processContext(),
    terminal: { isTty: false, columns: 120, out: keep, err: keep, status: () => undefined },
  });
  if (exit !== 0) throw new Error(`redoubt ${words.join(' ')} ended with ${exit}:\n${said.join('\n')}`);
};

interface ServerOf {
  readonly socket: string;
  readonly dataDirectory: string;
  readonly optionFile: string;
}

const applyCluster = async (cluster: ClusterId, server: ServerOf, more: object): Promise<void> => {
  const host = hosts.get(cluster) as LocalHost;
  const file = fresh('cluster');
  const { socket, dataDirectory, optionFile } = server;
  writeFileSync(
    file,
    stringify({
      cluster,
      server: { socket, dataDirectory, optionFile, owner },
      hosts: [{ instance: host.instance, role: host.role, agentDirectory: agentDirectoryOf(host) }],
      policy: { maxIncrementsRatio: 100 },
      ...more,
    }),
  );
  await redoubt('cluster', 'apply', '-f', file);
};

/** Takes a backup; its id. */
const backUp = async (cluster: ClusterId): Promise<string> => {
  await redoubt('backup', cluster, '--wait');
  const { backups } = await api.ask({ query: 'backups', cluster });
  return backups.at(-1)?.backup ?? '';
};

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'rbh-'));
  for (const cluster of [shop, vault, ledger])
    hosts.set(cluster, {
      // Of its own: the agent allows one run per cluster and host of a machine, and other tests run on this one.
      instance: `i-0${randomBytes(8).toString('hex')}`,
      role: `arn:aws:iam::000000000000:role/${cluster}-database`,
      cluster,
      directory: join(directory, cluster),
    });
  controlPlane = await startControlPlane({ stateDirectory: join(directory, 'state'), hosts: [...hosts.values()] });
  Object.assign(process.env, controlPlane.environment);
  api = await findControlPlane({ name: controlPlane.name });
  // The awscli of Debian does not know AWS_ENDPOINT_URL yet: this, and nothing else, is not as in production.
  mkdirSync(join(directory, 'bin'));
  writeFileSync(
    join(directory, 'bin/aws'),
    `#!/bin/sh\nexec /usr/bin/aws --endpoint-url '${controlPlane.cloud.endpoint}' "$@"\n`,
    { mode: 0o755 },
  );
});

afterAll(async () => {
  await controlPlane?.close();
  rmSync(directory, { recursive: true, force: true });
});

interface ByHand {
  readonly engine: 'MariaDB' | 'XtraBackup';
  readonly cluster: ClusterId;
  /** `latest` unless given. */
  readonly backup?: string;
  /** The text of the option file the restored server is to have, which names this keyring. */
  readonly serverOptions: (keyring: string, keyringKey: string) => string;
  readonly path?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

interface RestoredByHand {
  readonly status: number | null;
  readonly said: string;
  readonly dataDirectory: string;
  readonly keyring: string;
  readonly keyringKey: string;
}

/** Does what the page says, with nothing but its values. */
const restoreByHand = async ({
  engine,
  cluster,
  backup,
  serverOptions,
  path = [],
  environment,
}: ByHand): Promise<RestoredByHand> => {
  const place = fresh('r');
  mkdirSync(place);
  const [dataDirectory, keyring, keyringKey, optionFile] = ['d', 'k/keyring', 'k/keyring.key', 'my.cnf'].map((name) =>
    join(place, name),
  ) as [string, string, string, string];
  writeFileSync(optionFile, serverOptions(keyring, keyringKey));
  const secrets = mkdtempSync('/dev/shm/by-hand-');
  const script = join(place, 'page.sh');
  writeFileSync(
    script,
    commandsOf(engine, {
      BUCKET: controlPlane.address.bucket,
      CLUSTER: cluster,
      BACKUP: backup ?? 'latest',
      WORK: join(place, 'work'),
      SECRETS: secrets,
      DATADIR: dataDirectory,
      OWNER: owner,
      SERVER_CNF: optionFile,
      KEYRING: keyring,
      KEYRING_KEY: keyringKey,
      PLUGIN_DIR: PLUGIN_DIRECTORY,
      MEMORY: '64M',
    }),
  );
  const { AWS_ENDPOINT_URL: _, ...credentials } = controlPlane.environment;
  const shell = spawn('/bin/bash', ['-c', 'exec bash "$0" 2>&1', script], {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
    env: {
      ...credentials,
      ...environment,
      HOME: place,
      PATH: [join(directory, 'bin'), ...path, '/usr/sbin', '/usr/bin', '/sbin', '/bin'].join(':'),
    },
  });
  const ended = once(shell, 'exit');
  const said = await text(shell.stdout);
  const [status] = (await ended) as [number | null];
  rmSync(secrets, { recursive: true, force: true });
  // A page that stopped half-way may leave its server running.
  spawnSync('kill', ['-KILL', '--', `-${shell.pid}`]);
  return { status, said, dataDirectory, keyring, keyringKey };
};

describe('docs/restore-by-hand.md, for a MariaDB with encrypted tables', () => {
  let server: Mariadb;
  let keyFile: string;
  let keyFileKey: string;
  const taken: string[] = [];
  const sums: unknown[] = [];

  const keys = new Map([1, 2].map((id) => [id, randomBytes(32).toString('hex')]));
  const writeKeyFile = (): void => {
    execFileSync('openssl', ['enc', '-aes-256-cbc', '-md', 'sha1', '-pass', `file:${keyFileKey}`, '-out', keyFile], {
      input: [...keys].map(([id, key]) => `${id};${key}\n`).join(''),
      stdio: ['pipe', 'ignore', 'ignore'],
    });
  };

  const sumsOf = async (on: Mariadb): Promise<unknown> => {
    const tables = await on.query(
      "SELECT CONCAT('app.`', table_name, '`') AS name FROM information_schema.tables WHERE table_schema = 'app' ORDER BY 1",
    );
    return on.query(`CHECKSUM TABLE ${tables.map(({ name }) => name).join(', ')}`);
  };

  const backUpShop = async (): Promise<void> => {
    sums.push(await sumsOf(server));
    taken.push(await backUp(shop));
  };

  const restart = async (): Promise<void> => {
    // A clean restart writes every page: increments become deltas, not only redo.
    await server.stop();
    await server.start();
  };

  const serverOptions = (keyring: string, keyringKey: string): string =>
    [
      '[mariadbd]',
      `plugin-dir=${PLUGIN_DIRECTORY}`,
      'plugin-load-add=file_key_management',
      `file-key-management-filename=${keyring}`,
      `file-key-management-filekey=FILE:${keyringKey}`,
      'file-key-management-encryption-algorithm=aes_ctr',
      'innodb-encrypt-log=ON',
      'innodb-log-file-size=16M',
      '',
    ].join('\n');

  beforeAll(async () => {
    keyFile = fresh('keys');
    keyFileKey = fresh('key');
    writeFileSync(keyFileKey, randomBytes(32).toString('base64'), { mode: 0o600 });
    writeKeyFile();
    const optionFile = fresh('client');
    writeFileSync(optionFile, '[client]\nuser=root\n', { mode: 0o600 });
    server = await startMariadb({
      directory: fresh('s'),
      encryption: { keyFile, keyFileKey },
      options: ['--log-bin=binlog', '--server-id=1'],
    });
    await applyCluster(
      shop,
      { socket: server.socket, dataDirectory: server.dataDirectory, optionFile },
      {
        engine: 'mariadb-backup',
        tablespaceEncryption: { kind: 'file-key-management', path: keyFile, keyFileKey },
      },
    );
    await server.query('CREATE DATABASE app');
    await server.query('CREATE TABLE app.plain (i INT PRIMARY KEY, t TEXT) ENCRYPTED=NO');
    await server.query('CREATE TABLE app.one (i INT PRIMARY KEY, t TEXT) ENCRYPTED=YES ENCRYPTION_KEY_ID=1');
    await server.query('CREATE TABLE app.`odd #ü name` (i INT) ENCRYPTED=YES ENCRYPTION_KEY_ID=2');
    await server.query('CREATE TABLE app.renamed (i INT PRIMARY KEY)');
    await server.query('CREATE TABLE app.dropped (i INT PRIMARY KEY)');
    await server.query('CREATE TABLE app.aria (i INT) ENGINE=Aria');
    for (const table of ['plain', 'one'])
      await server.query(`INSERT INTO app.${table} SELECT seq, REPEAT(MD5(seq), 8) FROM app.seq_1_to_20000`);
    await restart();
    await backUpShop();

    keys.set(3, randomBytes(32).toString('hex'));
    writeKeyFile();
    await restart();
    await server.query('CREATE TABLE app.three (i INT PRIMARY KEY) ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
    await server.query('INSERT INTO app.three VALUES (3)');
    await server.query('INSERT INTO app.`odd #ü name` VALUES (2)');
    await server.query('RENAME TABLE app.renamed TO app.moved');
    await server.query('DROP TABLE app.dropped');
    await server.query("UPDATE app.one SET t = REPEAT('changed', 20) WHERE i % 3 = 0");
    await restart();
    await backUpShop();

    await server.query("UPDATE app.plain SET t = 'late' WHERE i % 5 = 0");
    await server.query('INSERT INTO app.aria VALUES (1)');
    await backUpShop();
    // The host that wrote them is lost. A backup that fails leaves a tombstone among the manifests.
    await server.stop();
    await expect(backUp(shop)).rejects.toThrow('ServerUnreachable');
    rmSync(server.dataDirectory, { recursive: true });
    renameSync(keyFile, `${keyFile}.lost`);
    renameSync(keyFileKey, `${keyFileKey}.lost`);
  });

  it.each([2, 1])('brings back backup %i, to a running server', async (index) => {
    const wanted = index === 2 ? {} : { backup: taken[index] as string };
    const restored = await restoreByHand({ engine: 'MariaDB', cluster: shop, serverOptions, ...wanted });
    expect(restored.status, restored.said).toBe(0);
    expect(restored.said).toMatch(new RegExp(`^${taken[index]} is restored: \\d+ tables are sound$`, 'm'));
    await using second = await startMariadb({
      directory: fresh('s'),
      dataDirectory: restored.dataDirectory,
      encryption: { keyFile: restored.keyring, keyFileKey: restored.keyringKey },
    });
    expect(await sumsOf(second)).toEqual(sums[index]);
  });

  const stored = (): ObjectStore => new ObjectStore(join(directory, 'state', 's3'));
  const keyOf = async (name: string): Promise<string> => {
    const { backups } = await api.ask({ query: 'backups', cluster: shop });
    return `${backups.at(-1)?.manifestKey.replace('manifest.json', '')}${name}`;
  };

  /** What the page says of a repository in which one object is another; the object is back afterwards. */
  const withChanged = async (name: string, change: (content: Buffer) => Buffer): Promise<RestoredByHand> => {
    const { bucket } = controlPlane.address;
    const key = await keyOf(name);
    const content = readFileSync(stored().getResourcePath(bucket, key, 'object'));
    const put = (body: Buffer): Promise<unknown> => stored().putObject(new S3Object(bucket, key, body, {}));
    await put(change(content));
    try {
      return await restoreByHand({ engine: 'MariaDB', cluster: shop, serverOptions });
    } finally {
      await put(content);
    }
  };

  const flipped = (content: Buffer): Buffer => {
    const spoilt = Buffer.from(content);
    spoilt[content.length >> 1] = (spoilt[content.length >> 1] ?? 0) ^ 1;
    return spoilt;
  };

  it.each(['data.00000', 'keyring.sealed'])(
    'refuses a flipped byte in %s, by name, before anything is prepared',
    async (name) => {
      const { status, said } = await withChanged(name, flipped);
      expect(status).not.toBe(0);
      expect(said).toContain(`REFUSED: ${await keyOf(name)} is not what its manifest says (SHA-256)`);
      expect(said).not.toContain('--prepare');
    },
  );

  it('refuses a manifest that was changed by somebody without the key', async () => {
    const { status, said } = await withChanged('manifest.json', (content) =>
      Buffer.from(content.toString('utf8').replace(/"reason":"[^"]*"/, '"reason":"none"')),
    );
    expect(status).not.toBe(0);
    expect(said).toContain(`REFUSED: the manifest of ${taken[2]} was not written with the chain's key, or was changed`);
  });
});

describe('docs/restore-by-hand.md, for a MySQL with encrypted tables', () => {
  const labs: XtrabackupLab[] = [];
  afterAll(async () => {
    for (const lab of labs) await lab.close();
  });

  /** A full and two increments of a server whose master key is rotated before each increment; then its keyring is lost. */
  const chainOf = async (lab: XtrabackupLab, cluster: ClusterId, more: object) => {
    labs.push(lab);
    const { server, chain, directory: at } = lab;
    await applyCluster(
      cluster,
      {
        socket: server.files.socket,
        dataDirectory: server.files.dataDirectory,
        optionFile: chain.optionFile,
      },
      { engine: 'xtrabackup', limits: { prepareMemory: 64 * 1024 * 1024 }, ...more },
    );
    await backUp(cluster);
    for (const _ of [1, 2]) {
      await lab.rotate();
      await server.stayDirty();
      await lab.addRows('enc', 200);
      await lab.addRows('plain', 50);
      await backUp(cluster);
    }
    const sums = await lab.sums();
    renameSync(lab.keyring, join(at, 'lost'));
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
    const lab = await XtrabackupLab.create();
    const sums = await chainOf(lab, vault, {
      engineDirectory: join(engineHome, 'bin'),
      encryption: { mode: 'native' },
      tablespaceEncryption: { kind: 'keyring-file', path: lab.keyring },
    });
    const restored = await restoreByHand({
      engine: 'XtraBackup',
      cluster: vault,
      serverOptions,
      path: [join(engineHome, 'bin')],
    });
    expect(restored.status, restored.said).toBe(0);
    expect(await lab.sumsIn(restored.dataDirectory, restored.keyring)).toBe(sums);
  });

  const version = '8.0.35';
  describeWhere(whyNotVersion(version), `XtraBackup ${version}`, () => {
    it('brings back a chain with a transition key, under a new master key', async () => {
      const lab = await XtrabackupLab.create({ version });
      const sums = await chainOf(lab, ledger, {
        engineDirectory: join(lab.directory, 'bin'),
        encryption: { mode: 'native-and-sealed' },
        tablespaceEncryption: { kind: 'keyring-file', path: lab.keyring, transition: 'passphrase' },
      });
      const restored = await restoreByHand({
        engine: 'XtraBackup',
        cluster: ledger,
        serverOptions,
        path: [join(lab.directory, 'bin'), join(engineHome, 'bin')],
        environment: { REDOUBT_STANDIN_VERSION: version },
      });
      expect(restored.status, restored.said).toBe(0);
      expect(await lab.sumsIn(restored.dataDirectory, restored.keyring)).toBe(sums);
    });
  });
});
