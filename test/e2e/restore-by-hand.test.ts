import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import S3Object from '@20minutes/s3rver/lib/models/object.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clusterIdSchema } from '#core/ids.ts';
import { ObjectStore } from '#local/cloud/s3/object-store.ts';
import { type Mariadb, PLUGIN_DIRECTORY, startMariadb } from '#local/mariadb/start-mariadb.ts';
import { ByHandLab, type RestoredByHand } from './by-hand-lab.ts';

// INV-8.

const shop = clusterIdSchema.parse('shop');

let lab: ByHandLab;

beforeAll(async () => {
  lab = await ByHandLab.create(shop);
});
afterAll(() => lab?.close());

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
    taken.push(await lab.backUp(shop));
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
    keyFile = lab.fresh('keys');
    keyFileKey = lab.fresh('key');
    writeFileSync(keyFileKey, randomBytes(32).toString('base64'), { mode: 0o600 });
    writeKeyFile();
    const optionFile = lab.fresh('client');
    writeFileSync(optionFile, '[client]\nuser=root\n', { mode: 0o600 });
    server = await startMariadb({
      directory: lab.fresh('s'),
      encryption: { keyFile, keyFileKey },
      options: ['--log-bin=binlog', '--server-id=1'],
    });
    await lab.applyCluster(
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
    await expect(lab.backUp(shop)).rejects.toThrow('ServerUnreachable');
    rmSync(server.dataDirectory, { recursive: true });
    renameSync(keyFile, `${keyFile}.lost`);
    renameSync(keyFileKey, `${keyFileKey}.lost`);
  });

  it.each([2, 1])('brings back backup %i, to a running server', async (index) => {
    const wanted = index === 2 ? {} : { backup: taken[index] as string };
    const restored = await lab.restore({ engine: 'MariaDB', cluster: shop, serverOptions, ...wanted });
    expect(restored.status, restored.said).toBe(0);
    expect(restored.said).toMatch(new RegExp(`^${taken[index]} is restored: \\d+ tables are sound$`, 'm'));
    await using second = await startMariadb({
      directory: lab.fresh('s'),
      dataDirectory: restored.dataDirectory,
      encryption: { keyFile: restored.keyring, keyFileKey: restored.keyringKey },
    });
    expect(await sumsOf(second)).toEqual(sums[index]);
  });

  const stored = (): ObjectStore => new ObjectStore(join(lab.directory, 'state', 's3'));
  const keyOf = async (name: string): Promise<string> => `${await lab.latestPrefix(shop)}${name}`;

  /** What the page says of a repository in which one object is another; the object is back afterwards. */
  const withChanged = async (name: string, change: (content: Buffer) => Buffer): Promise<RestoredByHand> => {
    const { bucket } = lab;
    const key = await keyOf(name);
    const content = readFileSync(stored().getResourcePath(bucket, key, 'object'));
    const put = (body: Buffer): Promise<unknown> => stored().putObject(new S3Object(bucket, key, body, {}));
    await put(change(content));
    try {
      return await lab.restore({ engine: 'MariaDB', cluster: shop, serverOptions });
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
