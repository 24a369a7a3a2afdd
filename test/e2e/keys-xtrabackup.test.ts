import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { compareVersions } from '#agent/engines/compare-versions.ts';
import { xtrabackup } from '#agent/engines/xtrabackup.ts';
import { failureOf } from '#test/agent/keyring/chain-lab.ts';
import { XtrabackupLab } from '#test/agent/keyring/xtrabackup-lab.ts';
import { describeWhere } from '#test/contract/xtrabackup/describe-where.ts';
import { engineHome, versionOf, whyNotVersion } from '#test/contract/xtrabackup/engine-home.ts';

// XtraBackup with a MySQL that has encrypted tables: the stand-in, or the installation REDOUBT_XTRABACKUP_HOME names.

let lab: XtrabackupLab;

beforeAll(async () => {
  lab = await XtrabackupLab.create();
}, 60_000);

afterAll(async () => {
  await lab?.close();
});

/** The lab's keyring is not where it was while `action` runs. */
const withoutKeyring = async <T>(action: () => Promise<T>): Promise<T> => {
  renameSync(lab.keyring, `${lab.keyring}.away`);
  try {
    return await action();
  } finally {
    renameSync(`${lab.keyring}.away`, lab.keyring);
  }
};

const keyringWith = (content: Buffer): string => {
  const path = lab.fresh('keyring');
  writeFileSync(path, content, { mode: 0o600 });
  return path;
};

describe('a chain of a MySQL with keyring_file, its master key rotated on the way', () => {
  const sums: string[] = [];
  const keyrings: Buffer[] = [];

  it('is taken, each backup with the keyring of its time', async () => {
    for (const rotate of [false, true, true]) {
      if (rotate) {
        await lab.rotate();
        // Redo that only the keyring opens: without it these rows would be lost for good.
        await lab.server.stayDirty();
        await lab.addRows('enc', 200);
        await lab.addRows('plain', 50);
      }
      sums.push(await lab.sums());
      await lab.chain.backup();
      keyrings.push(readFileSync(lab.keyring));
    }
    expect(lab.chain.taken.map(({ manifest }) => manifest.keyring?.keyIds.length)).toEqual([1, 2, 3]);
    for (const [key, body] of lab.chain.repository.objects)
      for (const keyring of keyrings) expect(body.includes(keyring.subarray(24)), key).toBe(false);
  });

  it.each([0, 1, 2])('restores to backup %i with the keyring gone', async (upTo) => {
    const directory = lab.fresh('restored');
    await withoutKeyring(() => lab.chain.restore({ upTo, directory }));
    expect(await lab.sumsIn(directory, keyringWith(keyrings[upTo] as Buffer))).toBe(sums[upTo]);
  });

  it('restores although the keyring has lost every older key since', async () => {
    const directory = lab.fresh('restored');
    const path = keyringWith(randomBytes(100));
    await lab.chain.restore({ directory, tablespaceEncryption: { kind: 'keyring-file', path, transition: 'none' } });
    expect(await lab.sumsIn(directory, keyringWith(keyrings[2] as Buffer))).toBe(sums[2]);
  });

  // What an engine makes of a prepare without the keyring it was given (49b, 99d): rows of the redo, or the tables, lost; exit 0.
  it.each([
    [
      'the base',
      'case "$*" in *--incremental-dir*) ;; *--prepare*) set -- --prepare --apply-log-only "--target-dir=$TARGET";; esac',
    ],
    [
      'an increment',
      'case "$*" in *--incremental-dir*) for a in "$@"; do shift; case "$a" in --keyring*) ;; *) set -- "$@" "$a";; esac; done;; esac',
    ],
  ])('refuses what an engine prepared without the keyring: %s', async (_, script) => {
    const directory = lab.fresh('restored');
    const failure = await failureOf(lab.chain.restore({ directory, engineDirectory: lab.engineThatFirst(script) }));
    expect(failure).toMatch(/^Prepare(Incomplete|Failed): /);
    expect(existsSync(directory)).toBe(false);
  });
});

describe('a keyring that is not the server’s', () => {
  let content: Buffer;
  beforeEach(async () => {
    lab.chain.newChain();
    await lab.server.flush();
    content = readFileSync(lab.keyring);
  });
  afterEach(() => {
    rmSync(lab.keyring, { recursive: true, force: true });
    writeFileSync(lab.keyring, content, { mode: 0o640 });
  });
  const spoilt = async (harm: () => void): Promise<string> => {
    harm();
    return failureOf(lab.chain.backup());
  };

  it.each([
    ['missing', () => rmSync(lab.keyring), /there is no such file$/],
    ['empty', () => writeFileSync(lab.keyring, ''), /it is empty$/],
    ['garbage', () => writeFileSync(lab.keyring, randomBytes(300)), /it is not a file of the keyring_file plugin$/],
    ['cut', () => writeFileSync(lab.keyring, content.subarray(0, content.length - 40)), /it is cut or damaged/],
    [
      'a directory',
      () => {
        rmSync(lab.keyring);
        mkdirSync(lab.keyring);
      },
      /it is a directory$/,
    ],
    [
      'of the same names with other bytes (46)',
      () => {
        // The key's bytes are the last of a record.
        const spoiltBytes = Buffer.from(content);
        for (let at = spoiltBytes.length - 3 - 32; at < spoiltBytes.length - 3; at++)
          spoiltBytes[at] = (spoiltBytes[at] ?? 0) ^ 0x5a;
        writeFileSync(lab.keyring, spoiltBytes);
      },
      /does not open app\/enc \(/,
    ],
  ])('is refused before the engine starts: %s', async (_, harm, message) => {
    const failure = await spoilt(harm);
    expect(failure).toMatch(/^KeyringUnreadable: /);
    expect(failure).toMatch(message);
  });

  it('is refused by what the engine says where only the redo needs the keys that are not there', async () => {
    await lab.rotate();
    await lab.server.stayDirty();
    await lab.rotate();
    await lab.addRows('enc', 20);
    const now = readFileSync(lab.keyring);
    writeFileSync(lab.keyring, content);
    const failure = await failureOf(lab.chain.backup());
    content = now;
    expect(failure).toMatch(/^(KeyringUnreadable|EngineLostData): /);
  });

  it('is refused where the server has another path', async () => {
    const path = keyringWith(content);
    expect(
      await failureOf(lab.chain.backup({ tablespaceEncryption: { kind: 'keyring-file', path, transition: 'none' } })),
    ).toBe(`KeyringUnreadable: the server's keyring_file_data is ${lab.keyring}, the cluster file says ${path}`);
  });

  it('is refused where it is rotated while the backup is taken (86)', async () => {
    const other = keyringWith(content);
    await lab.rotate();
    const rotated = keyringWith(readFileSync(lab.keyring));
    const engineDirectory = lab.engineThatFirst(`case "$*" in *--backup*) cp '${other}' '${lab.keyring}';; esac`);
    expect(await failureOf(lab.chain.backup({ engineDirectory }))).toMatch(/^KeyringRotated: .*is not what it was/);
    content = readFileSync(rotated);
  });

  it('is refused where it lost a key of the chain', async () => {
    await lab.chain.backup();
    const before = content;
    await lab.rotate();
    await lab.server.flush();
    const now = readFileSync(lab.keyring);
    // Only what is new: the header, the records the old one did not have, the end mark.
    const only = Buffer.concat([now.subarray(0, 24), now.subarray(before.length - 3)]);
    writeFileSync(lab.keyring, only);
    expect(await failureOf(lab.chain.backup())).toMatch(/^Keyring(Changed|Unreadable): /);
    content = now;
  });
});

describe('an engine that is not shown the keyring', () => {
  it('is refused although it says it completed (41)', async () => {
    lab.chain.newChain();
    const engineDirectory = lab.engineThatFirst(
      'case "$*" in *--backup*) for a in "$@"; do shift; case "$a" in --keyring*) ;; *) set -- "$@" "$a";; esac; done;; esac',
    );
    expect(await failureOf(lab.chain.backup({ engineDirectory }))).toMatch(
      /^(EngineLostData: .*can't find master key|TablespaceMissing: .*app\/enc \(encrypted)/,
    );
  });
});

describe.each(['native', 'native-and-sealed'] as const)('a chain encrypted by the engine (%s)', (mode) => {
  const sums: string[] = [];
  const segments = (): readonly Buffer[] =>
    lab.chain.taken.flatMap(({ manifest }) =>
      manifest.segments.map(({ key }) => lab.chain.repository.objects.get(key) as Buffer),
    );

  it('is taken with the names of what it holds encrypted, and restores', async () => {
    lab.chain.newChain();
    lab.chain.encryption = { mode, algorithm: 'AES256' };
    const payload = randomBytes(40).toString('hex');
    await lab.server.query(`INSERT INTO app.plain (k, payload) VALUES (1, '${payload}')`);
    await lab.server.flush();
    for (const rows of [0, 100, 100]) {
      if (rows > 0) await lab.addRows('enc', rows);
      sums.push(await lab.sums());
      const { manifest } = await lab.chain.backup();
      expect(manifest.stream).toMatchObject({ encryption: mode, algorithm: 'AES256' });
      // Of what is decrypted: no encrypted file is there besides.
      expect(manifest.restoredBytes).toBeLessThan(manifest.stream.bytes);
    }
    if (mode === 'native') {
      const stream = Buffer.concat(segments().map((body) => zstdDecompressSync(body.subarray(0))));
      expect(stream.includes('app/plain.ibd.xbcrypt')).toBe(true);
      expect(stream.includes(payload)).toBe(false);
    } else for (const body of segments()) expect(body.includes('XBCRYP')).toBe(false);
    const keyring = keyringWith(readFileSync(lab.keyring));
    for (const decryptAt of ['stream', 'directory'] as const) {
      const directory = lab.fresh('restored');
      await withoutKeyring(() => lab.chain.restore({ directory, decryptAt }));
      expect(await lab.sumsIn(directory, keyring)).toBe(sums.at(-1));
    }
  });

  it('decrypts while it extracts, without the engine and without a second copy on the disk', async () => {
    const seen = lab.fresh('seen');
    const engineDirectory = lab.engineThatFirst(`echo "$*" >>'${seen}'; ls -R "$TARGET" >>'${seen}'`);
    await lab.chain.restore({ directory: lab.fresh('restored'), engineDirectory });
    expect(readFileSync(seen, 'utf8')).toMatch(/--prepare/);
    expect(readFileSync(seen, 'utf8')).not.toMatch(/--decrypt|\.xbcrypt/);
  });

  it.each(['stream', 'directory'] as const)('names the key where it is another (at: %s) (32)', async (decryptAt) => {
    const key = lab.chain.keys['engine-key'];
    lab.chain.keys['engine-key'] = randomBytes(32);
    const directory = lab.fresh('restored');
    expect(await failureOf(lab.chain.restore({ directory, decryptAt }))).toMatch(/^KeyInvalid: /);
    expect(existsSync(directory)).toBe(false);
    lab.chain.keys['engine-key'] = key;
  });

  // 37, 63j: exit 0, a short file, and the engine's own --remove-original deletes what it was made of.
  it.each([
    ['cut', 'truncate -s -1000 "$TARGET/app/plain.ibd.xbcrypt"'],
    ['cut at a chunk border', 'truncate -s 65628 "$TARGET/app/plain.ibd.xbcrypt"'],
    ['damaged', 'printf x | dd of="$TARGET/app/plain.ibd.xbcrypt" bs=1 seek=500 conv=notrunc 2>/dev/null'],
    ['empty', ': >"$TARGET/app/plain.ibd.xbcrypt"'],
    ['gone', 'rm "$TARGET/app/plain.ibd.xbcrypt"'],
  ])('refuses what the engine decrypts from a file that is %s', async (_, harm) => {
    const engineDirectory = lab.engineThatFirst(`case "$*" in *--decrypt*) ${harm};; esac`);
    const directory = lab.fresh('restored');
    const failure = await failureOf(lab.chain.restore({ directory, upTo: 0, engineDirectory, decryptAt: 'directory' }));
    expect(failure).toMatch(/^PrepareIncomplete: /);
    expect(existsSync(directory)).toBe(false);
  });

  it('refuses a segment that is not what was stored', async () => {
    const key = lab.chain.taken[0]?.manifest.segments[0]?.key ?? '';
    const body = lab.chain.repository.objects.get(key) as Buffer;
    const spoilt = Buffer.from(body);
    spoilt[body.length >> 1] = (spoilt[body.length >> 1] ?? 0) ^ 1;
    lab.chain.repository.objects.set(key, spoilt);
    expect(await failureOf(lab.chain.restore({ directory: lab.fresh('restored') }))).toMatch(/^ObjectTampered: /);
    lab.chain.repository.objects.set(key, body);
  });
});

describe('the engine’s key', () => {
  afterEach(() => {
    lab.chain.keys['engine-key'] = randomBytes(32);
    lab.chain.encryption = { mode: 'sealed', algorithm: 'AES256' };
  });

  it.each([
    ['AES256', 16, /the engine would accept it and use AES128 instead of AES256$/],
    ['AES128', 32, /the engine would accept it and use AES256 instead of AES128$/],
  ] as const)('is refused before the engine sees it: %s with %i bytes (73e)', async (algorithm, bytes, message) => {
    lab.chain.newChain();
    lab.chain.keys['engine-key'] = randomBytes(bytes);
    lab.chain.encryption = { mode: 'native', algorithm };
    const failure = await failureOf(lab.chain.backup());
    expect(failure).toMatch(/^KeyInvalid: /);
    expect(failure).toMatch(message);
  });

  it.each([
    ['AES128', 16],
    ['AES192', 24],
  ] as const)('works in its other lengths: %s', async (algorithm, bytes) => {
    lab.chain.newChain();
    lab.chain.keys['engine-key'] = randomBytes(bytes);
    lab.chain.encryption = { mode: 'native', algorithm };
    await lab.chain.backup();
    const sums = await lab.sums();
    const directory = lab.fresh('restored');
    await lab.chain.restore({ directory });
    const copy = lab.fresh('keyring');
    copyFileSync(lab.keyring, copy);
    expect(await lab.sumsIn(directory, copy)).toBe(sums);
  });
});

describeWhere(whyNotVersion('2.4.2'), 'XtraBackup 2.4', () => {
  it.each([
    [{ kind: 'file-key-management', path: '/k' }, /that is MariaDB’s: use mariadb-backup/],
    [{ kind: 'component-keyring-file', path: '/k', transition: 'none' }, /it knows keyring-file, keyring-vault/],
  ] as const)('names the alternative to what it cannot do: %o', async (tablespaceEncryption, message) => {
    lab.chain.newChain();
    const failure = await failureOf(lab.chain.backup({ tablespaceEncryption }));
    expect(failure).toMatch(/^EncryptionUnsupported: /);
    expect(failure).toMatch(message);
  });
});

const missesUnwritten = xtrabackup.missesUnwritten(await xtrabackup.version(join(engineHome, 'bin')));

// 99a: without the wait the engine leaves the table out and says OK.
describeWhere(
  missesUnwritten ? undefined : 'this one has its key from the redo',
  'an encrypted table whose first page is in memory only',
  () => {
    beforeEach(async () => {
      lab.chain.newChain();
      lab.chain.log.length = 0;
      await lab.server.flush();
      await lab.server.stayDirty();
      await lab.server.query("CREATE TABLE app.fresh (id INT PRIMARY KEY) ENCRYPTION='Y'");
      await lab.server.query('INSERT INTO app.fresh VALUES (7)');
    });
    afterEach(async () => {
      await lab.server.flush();
      await lab.server.query('DROP TABLE app.fresh');
    });

    it('is waited for, and is in the backup once the server has written it', async () => {
      const taking = lab.chain.backup();
      await expect
        .poll(() => lab.chain.log, { timeout: 30_000 })
        .toContainEqual(expect.stringMatching(/first page of 1 .*app\/fresh; waiting$/));
      await lab.server.flush();
      await taking;
      const directory = lab.fresh('restored');
      await lab.chain.restore({ directory });
      const rows = await lab.lookAt(directory, keyringWith(readFileSync(lab.keyring)), (server) =>
        server.query('SELECT id FROM app.fresh'),
      );
      expect(rows).toEqual([{ id: 7 }]);
    });

    it('fails the backup by its name before the engine starts, where the server does not write it in time', async () => {
      const engineDirectory = lab.engineThatFirst(`case "$*" in *--backup*) touch '${lab.directory}/started';; esac`);
      expect(await failureOf(lab.chain.backup({ engineDirectory }, { firstPagesMs: 0 }))).toMatch(
        /^TablespaceUnwritten: .* first page of 1 encrypted tables yet: app\/fresh$/,
      );
      expect(existsSync(join(lab.directory, 'started'))).toBe(false);
    });
  },
);

const knowsTransitionKeys = compareVersions(versionOf('xtrabackup'), '2.4.11') >= 0;

describeWhere(knowsTransitionKeys ? 'this one does' : undefined, 'XtraBackup that knows no transition keys', () => {
  it('says from which version on it does', async () => {
    lab.chain.newChain();
    const path = join(lab.directory, 'keyring/keyring');
    expect(
      await failureOf(
        lab.chain.backup({ tablespaceEncryption: { kind: 'keyring-file', path, transition: 'passphrase' } }),
      ),
    ).toMatch(/^EncryptionUnsupported: a transition key needs XtraBackup 2\.4\.11 or newer/);
  });
});
