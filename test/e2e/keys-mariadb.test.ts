import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serverConfigSchema } from '#core/cluster-config.ts';
import { keyringKey } from '#core/object-keys.ts';
import { Mariadb, PLUGIN_DIRECTORY, startMariadb } from '#local/mariadb/start-mariadb.ts';
import { ChainLab, failureOf } from '#test/agent/keyring/chain-lab.ts';

// A real MariaDB 10.11 with encrypted tables, redo and undo: file_key_management with an encrypted key file.

let lab: ChainLab;
let server: Mariadb;
let keyFile: string;
let fileKey: string;
const keys = new Map<number, string>();

const newKey = (): string => randomBytes(32).toString('hex');

/** As an operator would, with openssl. */
const writeKeyFile = (entries: ReadonlyMap<number, string> = keys, path = keyFile): void => {
  const plain = [...entries].map(([id, key]) => `${id};${key}\n`).join('');
  execFileSync('openssl', ['enc', '-aes-256-cbc', '-md', 'sha1', '-pass', `file:${fileKey}`, '-out', path], {
    input: plain,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  chmodSync(path, 0o600);
};

const encryption = (algorithm: 'aes_ctr' | 'aes_cbc' = 'aes_ctr') => ({
  keyFile,
  keyFileKey: fileKey,
  algorithm,
});

let restored = 0;
const nextTarget = (): string => join(lab.directory, `restored-${++restored}`);

const sumsOf = async (on: Mariadb): Promise<unknown> =>
  on.query('CHECKSUM TABLE app.plain, app.one, app.two, app.three');

/** What the tables of a restored directory sum to, on a server with this key file. */
const sumsIn = async (dataDirectory: string): Promise<unknown> => {
  await using second = await startMariadb({
    directory: join(lab.directory, `second-${restored}`),
    dataDirectory,
    encryption: encryption(),
  });
  return await sumsOf(second);
};

beforeAll(async () => {
  lab = new ChainLab({ engine: 'mariadb-backup' });
  keyFile = join(lab.directory, 'keys.enc');
  fileKey = join(lab.directory, 'keys.key');
  writeFileSync(fileKey, randomBytes(32).toString('base64'), { mode: 0o600 });
  for (const id of [1, 2, 3]) keys.set(id, newKey());
  writeKeyFile();
  server = await startMariadb({
    directory: join(lab.directory, 's'),
    encryption: encryption(),
    options: ['--log-bin=binlog', '--server-id=1'],
  });
  lab.server = serverConfigSchema.parse({
    socket: server.socket,
    dataDirectory: server.dataDirectory,
    optionFile: lab.optionFile,
    owner: 'root',
  });
  lab.tablespaceEncryption = { kind: 'file-key-management', path: keyFile, keyFileKey: fileKey };
  await server.query('CREATE DATABASE app');
  await server.query('CREATE TABLE app.plain (i INT PRIMARY KEY, t TEXT) ENCRYPTED=NO');
  for (const [table, id] of [
    ['one', 1],
    ['two', 2],
    ['three', 3],
  ])
    await server.query(`CREATE TABLE app.${table} (i INT PRIMARY KEY, t TEXT) ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`);
  for (const table of ['plain', 'one', 'two', 'three'])
    await server.query(`INSERT INTO app.${table} SELECT seq, REPEAT('${table}', 50) FROM app.seq_1_to_3000`);
  // A clean restart writes every page.
  await server.stop();
  await server.start();
}, 60_000);

afterAll(async () => {
  await server?.stop();
  lab?.dispose();
});

describe('backups of a MariaDB with encrypted tables', () => {
  let afterFull: unknown;
  let afterIncrement: unknown;

  it('escrow the key file and its key, sealed, with the ids in it', async () => {
    afterFull = await sumsOf(server);
    const { manifest } = await lab.backup();
    expect(manifest.keyring).toMatchObject({
      kind: 'file-key-management',
      transition: 'none',
      keyIds: [expect.stringMatching(/^1#/), expect.stringMatching(/^2#/), expect.stringMatching(/^3#/)],
      object: { key: keyringKey(manifest) },
    });
    const secrets = [
      readFileSync(keyFile),
      readFileSync(fileKey),
      ...[...keys.values()].map((key) => Buffer.from(key)),
    ];
    for (const [key, body] of lab.repository.objects)
      for (const secret of secrets) expect(body.includes(secret), key).toBe(false);
  });

  it('go on when keys were added to the file between base and increment', async () => {
    keys.set(4, newKey());
    writeKeyFile();
    await server.stop();
    await server.start();
    await server.query('CREATE TABLE app.four (i INT PRIMARY KEY) ENCRYPTED=YES ENCRYPTION_KEY_ID=4');
    await server.query('INSERT INTO app.four VALUES (4)');
    await server.query("UPDATE app.two SET t = REPEAT('changed', 20) WHERE i % 3 = 0");
    afterIncrement = await sumsOf(server);
    const { manifest } = await lab.backup();
    expect(manifest).toMatchObject({
      kind: 'incremental',
      keyring: { keyIds: expect.arrayContaining([expect.stringMatching(/^4#/)]) },
    });
    expect(manifest.keyring?.fingerprint).not.toBe(lab.taken[0]?.manifest.keyring?.fingerprint);
  });

  it('restore each with its own key file, where the host has none any more', async () => {
    const [away, awayKey] = [`${keyFile}.away`, `${fileKey}.away`];
    renameSync(keyFile, away);
    renameSync(fileKey, awayKey);
    const directories = [nextTarget(), nextTarget()];
    try {
      await lab.restore({ upTo: 0, directory: directories[0] as string });
      await lab.restore({ directory: directories[1] as string });
    } finally {
      renameSync(away, keyFile);
      renameSync(awayKey, fileKey);
    }
    expect(lab.log.join('\n')).toContain(
      `needs a file-key-management with 1, 2, 3, 4; there is none at ${keyFile}. The one of the backup is sealed in ${lab.taken[1]?.manifest.keyring?.object.key}`,
    );
    expect(await sumsIn(directories[0] as string)).toEqual(afterFull);
    expect(await sumsIn(directories[1] as string)).toEqual(afterIncrement);
  });

  it('refuse an increment whose key file lost a key, or has another under its id', async () => {
    const without = new Map(keys);
    without.delete(4);
    const replaced = new Map(keys).set(3, newKey());
    // The server still has the keys it read when it started; the tables that need them are dropped, so nothing else is wrong.
    await server.query('DROP TABLE app.four');
    writeKeyFile(without);
    expect(await failureOf(lab.backup())).toMatch(
      /^KeyringChanged: 1 keys of the backup before are gone or replaced: 4$/,
    );
    writeKeyFile(replaced);
    expect(await failureOf(lab.backup())).toMatch(
      /^KeyringUnreadable: .*keys\.enc does not open app\/three \(the bytes under the id 3 are not those of its key\)$/,
    );
    writeKeyFile();
  });
});

describe('a key file that is not what it should be', () => {
  it.each([
    ['missing', () => rmSync(keyFile), /there is no such file/],
    ['empty', () => writeFileSync(keyFile, ''), /it is empty/],
    ['garbage', () => writeFileSync(keyFile, randomBytes(200)), /it is not a key file of file_key_management/],
    [
      'encrypted with another key',
      () => writeFileSync(keyFile, Buffer.concat([Buffer.from('Salted__'), randomBytes(168)])),
      /keyFileKey does not open it/,
    ],
    [
      'a directory',
      () => {
        rmSync(keyFile);
        mkdirSync(keyFile);
      },
      /it is a directory/,
    ],
    ['without its key', () => rmSync(fileKey), /keys\.key: there is no such file/],
  ])('is refused before the engine starts: %s', async (_, harm, message) => {
    const key = readFileSync(fileKey);
    harm();
    try {
      const failure = await failureOf(lab.backup());
      expect(failure).toMatch(/^KeyringUnreadable: /);
      expect(failure).toMatch(message);
    } finally {
      rmSync(keyFile, { recursive: true, force: true });
      writeFileSync(fileKey, key, { mode: 0o600 });
      writeKeyFile();
    }
  });

  it('is refused where the server reads another one', async () => {
    const other = `${keyFile}.other`;
    writeKeyFile(keys, other);
    const failure = await failureOf(
      lab.backup({ tablespaceEncryption: { kind: 'file-key-management', path: other, keyFileKey: fileKey } }),
    );
    expect(failure).toBe(
      `KeyringUnreadable: the server's file_key_management_filename is ${keyFile}, the cluster file says ${other}`,
    );
  });

  it('is refused where the cluster file names none', async () => {
    expect(await failureOf(lab.backup({ tablespaceEncryption: undefined }))).toMatch(
      /^EncryptionUnsupported: \d+ tablespaces are encrypted, among them .*; the cluster file names no tablespaceEncryption/,
    );
  });

  it('is refused where it changes while the backup is taken, and nothing is a backup then', async () => {
    const manifests = () => [...lab.repository.objects.keys()].filter((key) => key.endsWith('manifest.json')).length;
    const before = manifests();
    writeKeyFile(new Map(keys).set(5, newKey()), `${keyFile}.rotated`);
    const engineDirectory = engineThatFirst(lab.directory, `cp '${keyFile}.rotated' '${keyFile}'`);
    const taking = failureOf(lab.backup({ engineDirectory }));
    expect(await taking).toMatch(/^KeyringRotated: .*keys\.enc is not what it was when the backup began$/);
    expect(manifests()).toBe(before);
    writeKeyFile();
  });
});

/** A mariadb-backup that runs `script` before it takes a backup. */
const engineThatFirst = (directory: string, script: string): string => {
  const place = join(directory, 'engine');
  mkdirSync(place, { recursive: true });
  writeFileSync(
    join(place, 'mariadb-backup'),
    `#!/bin/sh\ncase "$*" in *--backup*)\n${script}\n;; esac\nexec /usr/bin/mariadb-backup "$@"\n`,
    { mode: 0o755 },
  );
  return place;
};

describe('a restore that replaces the data directory', () => {
  /** The server's own start and stop, as a cluster file names them. */
  const control = () => {
    const script = join(lab.directory, 'start.sh');
    const pidFile = join(lab.directory, 'started.pid');
    writeFileSync(
      script,
      `#!/bin/sh
mariadbd --no-defaults --user=root --datadir='${server.dataDirectory}' --socket='${server.socket}' --pid-file='${pidFile}' \\
  --skip-networking --innodb-buffer-pool-size=64M --log-bin=binlog --server-id=1 --plugin-dir='${PLUGIN_DIRECTORY}' \\
  --plugin-load-add=file_key_management --file-key-management-filename='${keyFile}' --file-key-management-filekey='FILE:${fileKey}' \\
  --file-key-management-encryption-algorithm=aes_ctr --innodb-encrypt-log=ON </dev/null >'${lab.directory}/started.log' 2>&1 &
`,
      { mode: 0o755 },
    );
    return {
      kind: 'command' as const,
      start: [script] as const,
      stop: [
        '/bin/sh',
        '-c',
        `kill $(cat '${pidFile}' '${join(server.directory, 'mysqld.pid')}' 2>/dev/null)`,
      ] as const,
    };
  };
  const replace = () =>
    lab.restore({ mode: 'replace', directory: server.dataDirectory, server: { ...lab.server, control: control() } });

  it('refuses a key file that lacks a key of the backup, before anything is touched', async () => {
    const pid = server.pid;
    const without = new Map(keys);
    without.delete(2);
    writeKeyFile(without);
    try {
      expect(await failureOf(replace())).toMatch(
        /^KeyringUnreadable: .*keys\.enc has not these keys, or other bytes under their names: 2; it is never overwritten/,
      );
      expect(readFileSync(join(server.directory, 'mysqld.pid'), 'utf8').trim()).toBe(String(pid));
    } finally {
      writeKeyFile();
    }
  });

  it('brings the key file back from the escrow where it is gone, for the server’s user alone, and the server reads its tables', async () => {
    rmSync(keyFile);
    rmSync(fileKey);
    const answer = await replace();
    expect(answer.serverVersion).toMatch(/^10\.11/);
    expect(lab.log.join('\n')).toContain(
      `${keyFile} and ${fileKey} came back from the escrow of ${lab.taken[1]?.manifest.backup}`,
    );
    for (const path of [keyFile, fileKey]) expect(statSync(path).mode & 0o777).toBe(0o600);
    const connection = await createConnection({ socketPath: server.socket, user: 'root' });
    try {
      const [rows] = await connection.query('SELECT COUNT(*) AS n FROM app.two WHERE t LIKE "changed%"');
      expect(rows).toEqual([{ n: 1000 }]);
    } finally {
      await connection.end();
      execFileSync('/bin/sh', control().stop.slice(1));
    }
  });
});

describe('an escrow that is not the backup’s', () => {
  const key = (at: number): string => lab.taken[at]?.manifest.keyring?.object.key ?? '';

  it('is refused before anything is downloaded: gone', async () => {
    const body = lab.repository.objects.get(key(0)) as Buffer;
    lab.repository.objects.delete(key(0));
    const directory = nextTarget();
    expect(await failureOf(lab.restore({ directory }))).toMatch(/^ObjectMissing: /);
    lab.repository.objects.set(key(0), body);
    expect(existsSync(directory)).toBe(false);
  });

  it('is refused: that of another backup of the chain', async () => {
    const body = lab.repository.objects.get(key(1)) as Buffer;
    lab.repository.objects.set(key(1), lab.repository.objects.get(key(0)) as Buffer);
    expect(await failureOf(lab.restore({ directory: nextTarget() }))).toMatch(/^ObjectTampered: /);
    lab.repository.objects.set(key(1), body);
  });
});

describe('mariadb-backup', () => {
  it('is not asked to encrypt, and the alternative is named', async () => {
    expect(await failureOf(lab.backup({ encryption: { mode: 'native' } }))).toBe(
      'EncryptionUnsupported: mariadb-backup cannot encrypt (native): set encryption.mode to sealed, then the agent does',
    );
  });

  it('is not asked for a keyring of MySQL', async () => {
    expect(
      await failureOf(lab.backup({ tablespaceEncryption: { kind: 'keyring-file', path: '/k', transition: 'none' } })),
    ).toMatch(/^EncryptionUnsupported: MariaDB has no keyring-file/);
  });

  it('is shown a key file only if it opens the tables, in the other cipher mode too', async () => {
    const other = await startMariadb({ directory: join(lab.directory, 'c'), encryption: encryption('aes_cbc') });
    const was = lab.server;
    try {
      await other.query('CREATE DATABASE app');
      await other.query('CREATE TABLE app.t (i INT PRIMARY KEY) ENCRYPTED=YES ENCRYPTION_KEY_ID=2');
      await other.query('INSERT INTO app.t VALUES (1)');
      await other.stop();
      await other.start();
      lab.server = serverConfigSchema.parse({ ...was, socket: other.socket, dataDirectory: other.dataDirectory });
      lab.newChain();
      expect((await lab.backup()).manifest.kind).toBe('full');
      writeKeyFile(new Map(keys).set(2, newKey()));
      expect(await failureOf(lab.backup())).toMatch(
        /^KeyringUnreadable: .* does not open app\/t \(the bytes under the id 2/,
      );
    } finally {
      writeKeyFile();
      lab.server = was;
      await other.stop();
    }
  });

  it('does not get a key that would be written into the backup in clear', async () => {
    const secret = newKey();
    const path = join(lab.directory, 'literal.enc');
    execFileSync('openssl', ['enc', '-aes-256-cbc', '-md', 'sha1', '-pass', `pass:${secret}`, '-out', path], {
      input: `1;${newKey()}\n`,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    const literal = new Mariadb({
      directory: join(lab.directory, 'l'),
      options: [
        `--plugin-dir=${PLUGIN_DIRECTORY}`,
        '--plugin-load-add=file_key_management',
        `--file-key-management-filename=${path}`,
        `--file-key-management-filekey=${secret}`,
      ],
    });
    await literal.start();
    const was = lab.server;
    try {
      lab.server = serverConfigSchema.parse({
        socket: literal.socket,
        dataDirectory: literal.dataDirectory,
        optionFile: lab.optionFile,
      });
      lab.newChain();
      const failure = await failureOf(
        lab.backup({ tablespaceEncryption: { kind: 'file-key-management', path, keyFileKey: fileKey } }),
      );
      expect(failure).toMatch(/^EncryptionUnsupported: file_key_management_filekey is the key itself/);
      expect(failure).not.toContain(secret);
    } finally {
      lab.server = was;
      await literal.stop();
    }
  });
});
