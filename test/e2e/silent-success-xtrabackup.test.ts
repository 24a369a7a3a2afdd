import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failureOf, type TakenBackup } from '#test/agent/keyring/chain-lab.ts';
import { XtrabackupLab } from '#test/agent/keyring/xtrabackup-lab.ts';
import { describeWhere } from '#test/contract/xtrabackup/describe-where.ts';
import { isStandIn } from '#test/contract/xtrabackup/engine-home.ts';
import { xbstreamOf } from '#test/doubles/xbstream-writer.ts';

// Runs of the engine that end with 0 and "completed OK!" over lost data, each made to happen under the agent. The numbers are those of
// the recordings (test/fixtures/xtrabackup-2.4.7); docs/design.md says which guard refuses which.

/** Shell for a wrapped engine: the arguments without those that match a pattern. */
const dropping = (pattern: string): string =>
  `for a in "$@"; do shift; case "$a" in ${pattern}) ;; *) set -- "$@" "$a";; esac; done`;
const during = (phase: string, script: string): string => `case "$*" in *--${phase}*) ${script};; esac`;
/** Only where an increment is applied, or only where the base is prepared. */
const atIncrement = (script: string): string => `case "$*" in *--incremental-dir=*) ${script};; esac`;
const atBase = (script: string): string => `case "$*" in *--incremental-dir=*) ;; *--prepare*) ${script};; esac`;
const INCREMENT = 'I=$(printf "%s\\n" "$@" | sed -n "s/^--incremental-dir=//p")';

/** Puts the key of the first tablespace of a stream's `xtrabackup_keys` under another space id: [stream, bytes before the first key]. */
const FORGE_KEYS = `
const fs = require('node:fs');
const [, , path, header] = process.argv;
const stream = fs.readFileSync(path);
const name = Buffer.from('xtrabackup_keys');
for (let at = stream.indexOf('XBSTCK01'); at >= 0; at = stream.indexOf('XBSTCK01', at + 8)) {
  if (stream[at + 9] !== 0x50 || !stream.subarray(at + 14, at + 14 + name.length).equals(name)) continue;
  const numbers = at + 14 + name.length;
  const data = stream.subarray(numbers + 20, numbers + 20 + Number(stream.readBigUInt64LE(numbers)));
  data.writeUInt32LE(0x7fffffff, Number(header));
  stream.writeUInt32LE(require('node:zlib').crc32(data), numbers + 16);
}
process.stdout.write(stream);
`;

const stagingOf = (directory: string): string => join(dirname(directory), `.redoubt-restore-${basename(directory)}`);

describe('at backup', () => {
  let lab: XtrabackupLab;
  let staleKeyring: string;

  beforeAll(async () => {
    lab = await XtrabackupLab.create();
    staleKeyring = lab.fresh('keyring');
    writeFileSync(staleKeyring, readFileSync(lab.keyring));
    await lab.rotate();
    await lab.server.flush();
  }, 60_000);
  afterAll(async () => {
    await lab?.close();
  });

  const refused = async (script: string): Promise<string> => {
    const manifests = lab.chain.taken.length;
    const failure = await failureOf(
      lab.chain.backup({ engineDirectory: lab.engineThatFirst(during('backup', script)) }),
    );
    expect(lab.chain.taken).toHaveLength(manifests);
    return failure;
  };
  const withKeyring = (path: string): string => `${dropping('--keyring*')}; set -- "$@" '--keyring-file-data=${path}'`;

  it.each([
    ['41: the keyring option is missing', () => dropping('--keyring*')],
    ['41c, 62e, 62f: nothing is at the keyring’s path', () => withKeyring(join(lab.directory, 'nowhere/keyring'))],
    ['99c: the keyring is stale', () => withKeyring(staleKeyring)],
  ])('%s', async (_, script) => {
    lab.chain.newChain();
    expect(await refused(script())).toMatch(/^(EngineLostData|KeyringUnreadable|TablespaceMissing): /);
  });

  it('99d: an increment is taken without the keyring', async () => {
    lab.chain.newChain();
    await lab.chain.backup();
    expect(await refused(dropping('--keyring*'))).toMatch(/^(EngineLostData|TablespaceMissing): /);
  });

  it.each([
    ['59: from an LSN of the future', '--incremental-lsn=99999999999', /^(ChainBroken|CheckpointsInvalid): /],
    ['59d: from no LSN', '--incremental-lsn=', /^CheckpointsInvalid: (from_lsn is 0|backup_type)/],
    ['59e: from LSN 0', '--incremental-lsn=0', /^CheckpointsInvalid: (from_lsn is 0|backup_type)/],
    ['59f: from a negative LSN', '--incremental-lsn=-5', /^(ChainBroken|CheckpointsInvalid): /],
  ])('%s', async (_, option, message) => {
    lab.chain.newChain();
    await lab.chain.backup();
    expect(await refused(`${dropping('--incremental-lsn*')}; set -- "$@" '${option}'`)).toMatch(message);
  });

  it('73: another directory than the server’s is copied', async () => {
    lab.chain.newChain();
    const other = lab.fresh('data');
    const copied = `cp -r '${lab.server.files.dataDirectory}' '${other}'; ${dropping('--datadir=*')}; set -- "$@" '--datadir=${other}'`;
    expect(await refused(copied)).toMatch(/^DataDirectoryMismatch: .*different values/);
  });

  it('73e: what it encrypts has a key of another length than was asked for', async () => {
    lab.chain.newChain();
    lab.chain.encryption = { mode: 'native', algorithm: 'AES256' };
    const right = lab.chain.keys['engine-key'];
    lab.chain.keys['engine-key'] = randomBytes(16);
    const failure = await failureOf(lab.chain.backup());
    lab.chain.keys['engine-key'] = right;
    lab.chain.encryption = { mode: 'sealed', algorithm: 'AES256' };
    expect(failure).toMatch(/^KeyInvalid: .*would accept it and use AES128/);
  });

  it('99a: an encrypted table whose first page is not on the disk yet would be left out, and is there once it is', async () => {
    lab.chain.newChain();
    await lab.server.stayDirty();
    await lab.server.query("CREATE TABLE app.fresh (id INT PRIMARY KEY, k INT) ENCRYPTION='Y'");
    await lab.server.query('INSERT INTO app.fresh (id, k) VALUES (1, 1)');
    const failure = await failureOf(lab.chain.backup({}, { firstPagesMs: 0 }));
    await lab.server.flush();
    // A real server may have flushed it in time, or a later engine have found it in the redo.
    if (failure === 'no error' && !isStandIn) {
      const directory = lab.fresh('restored');
      await lab.chain.restore({ directory });
      expect(existsSync(join(directory, 'app/fresh.ibd'))).toBe(true);
    } else expect(failure).toMatch(/^TablespaceUnwritten: .*app\/fresh/);
    lab.chain.newChain();
    await lab.chain.backup();
  });

  it('#1704: redo is not read up to where the server was before', async () => {
    lab.chain.newChain();
    const stale = lab.fresh('stream');
    // What it would have sent some changes ago.
    const kept = `"$PROGRAM" "$@" >'${stale}' || exit; cat '${stale}'; exit 0`;
    await failureOf(lab.chain.backup({ engineDirectory: lab.engineThatFirst(during('backup', kept)) }));
    lab.chain.newChain();
    await lab.addRows('plain', 100);
    expect(await refused(`cat '${stale}'; echo 'completed OK!' >&2; exit 0`)).toMatch(
      /^CheckpointsInvalid: redo was copied up to LSN \d+, but the server was at \d+ before the backup began$/,
    );
  });

  it.each([
    ['all', dropping('--encrypt*')],
    ['a configuration with credentials', ''],
  ])('sends in clear what it was to encrypt: %s; nothing of that leaves the host', async (what, script) => {
    lab.chain.newChain();
    lab.chain.encryption = { mode: 'native', algorithm: 'AES256' };
    const secret = randomBytes(40).toString('hex');
    const clear = lab.fresh('stream');
    writeFileSync(clear, xbstreamOf({ 'component_keyring_kms.cnf': `{"auth_key":"${secret}"}` }));
    const before = lab.chain.repository.objects.size;
    const failure = await refused(script || `cat '${clear}'`);
    lab.chain.encryption = { mode: 'sealed', algorithm: 'AES256' };
    expect(failure).toMatch(
      what === 'all' ? /^EngineLostData: .* in clear$/ : /^EngineLostData: .*component_keyring_kms\.cnf in clear$/,
    );
    expect(lab.chain.repository.objects.size).toBe(before);
  });
});

describe('at decryption, prepare and hand-over', () => {
  let lab: XtrabackupLab;
  let sums: string;
  let stale: string;

  beforeAll(async () => {
    lab = await XtrabackupLab.create();
    lab.chain.encryption = { mode: 'native-and-sealed', algorithm: 'AES256' };
    stale = lab.fresh('keyring');
    writeFileSync(stale, readFileSync(lab.keyring));
    for (let seq = 0; seq < 3; seq++) {
      await lab.rotate();
      await lab.server.flush();
      // From here on only the redo has it.
      await lab.server.stayDirty();
      await lab.addRows('enc', 200);
      await lab.addRows('plain', 100);
      await lab.chain.backup();
    }
    sums = await lab.sums();
  }, 120_000);
  afterAll(async () => {
    await lab?.close();
  });

  const restored = async (directory: string): Promise<void> => {
    const keyring = lab.fresh('keyring');
    writeFileSync(keyring, readFileSync(lab.keyring));
    expect(await lab.sumsIn(directory, keyring)).toBe(sums);
  };

  const refused = async (script: string): Promise<string> => {
    const directory = lab.fresh('restored');
    const failure = await failureOf(lab.chain.restore({ directory, engineDirectory: lab.engineThatFirst(script) }));
    expect(existsSync(directory)).toBe(false);
    return failure;
  };

  it('32: another key opens nothing and costs nothing', async () => {
    const right = lab.chain.keys['engine-key'];
    lab.chain.keys['engine-key'] = randomBytes(32);
    const directory = lab.fresh('restored');
    const failure = await failureOf(lab.chain.restore({ directory }));
    lab.chain.keys['engine-key'] = right;
    expect(failure).toMatch(/^KeyInvalid: /);
    await lab.chain.restore({ directory });
    await restored(directory);
  });

  it.each([
    ['42, 49b: without the keyring', () => dropping('--keyring*')],
    ['43: with an empty keyring', () => `: >"$K"`],
    ['43: with garbage', () => `head -c 300 /dev/urandom >"$K"`],
    ['43: with a path where nothing is', () => `rm "$K"`],
    ['44, 45, 49c: with a keyring from before a rotation', () => `cat '${stale}' >"$K"`],
    ['94: with a directory', () => `rm "$K"; mkdir "$K"`],
  ])('%s: the base is prepared', async (_, script) => {
    const keyring = 'K=$(printf "%s\\n" "$@" | sed -n "s/^--keyring-file-data=//p")';
    expect(await refused(atBase(`${keyring}; ${script()}`))).toMatch(/^(PrepareIncomplete|KeyringUnreadable): /);
  });

  it('46: with other bytes under the name of the key', async () => {
    // The key's bytes are the last of a record; the end mark has three.
    const spoilt =
      'printf spoilt-bytes-of-the-key | dd of="$K" bs=1 seek=$(($(stat -c %s "$K") - 35)) conv=notrunc 2>/dev/null';
    const keyring = 'K=$(printf "%s\\n" "$@" | sed -n "s/^--keyring-file-data=//p")';
    expect(await refused(atBase(`${keyring}; ${spoilt}`))).toMatch(/^(PrepareIncomplete|KeyringUnreadable): /);
  });

  it('49b2: what was prepared without the keyring is not prepared again, but begun again', async () => {
    const directory = lab.fresh('restored');
    const engineDirectory = lab.engineThatFirst(during('prepare', dropping('--keyring*')));
    expect(await failureOf(lab.chain.restore({ directory, engineDirectory }))).toMatch(/^PrepareIncomplete: /);
    await lab.chain.restore({ directory });
    await restored(directory);
  });

  it('5b: a tablespace is missing', async () => {
    expect(await refused(atBase('rm "$TARGET/app/plain.ibd"'))).toMatch(/^PrepareIncomplete: /);
  });

  it('5e: a delta is missing, and the engine deletes the table of the base', async () => {
    const failure = await refused(atIncrement(`${INCREMENT}; rm -f "$I/app/plain.ibd.delta" "$I/app/plain.ibd.meta"`));
    expect(failure).toMatch(/^PrepareIncomplete: .*app\/plain/);
  });

  it('5k: increments in another order than they were taken', async () => {
    const { steps } = lab.chain.instruction();
    const [full, first, second] = steps;
    const directory = lab.fresh('restored');
    const swapped = [full, second, first] as typeof steps;
    expect(await failureOf(lab.chain.restore({ directory, steps: swapped }))).toMatch(/^ManifestInvalid: /);
    expect(existsSync(directory)).toBe(false);
  });

  it.each([
    ['64: is cut', 'truncate -s -20000 "$TARGET/xtrabackup_logfile"'],
    [
      '64b: is damaged',
      'printf "%600s" x | dd of="$TARGET/xtrabackup_logfile" bs=1 seek=$(($(stat -c %s "$TARGET/xtrabackup_logfile") - 9000)) conv=notrunc 2>/dev/null',
    ],
  ])('%s: the redo', async (_, harm) => {
    expect(await refused(atBase(harm))).toMatch(/^PrepareIncomplete: /);
  });

  it('reads no redo at all', async () => {
    const claimed = `sed -i 's/^backup_type = .*/backup_type = log-applied/' "$TARGET/xtrabackup_checkpoints"; echo 'completed OK!' >&2; exit 0`;
    expect(await refused(atBase(claimed))).toMatch(/^PrepareIncomplete: .*the engine read none of its redo$/);
  });

  it('63f: the disk is full, the checkpoints say prepared, and the next run begins again', async () => {
    const directory = lab.fresh('restored');
    const full =
      `sed -i 's/^backup_type = .*/backup_type = full-prepared/' "$TARGET/xtrabackup_checkpoints"; ` +
      `echo 'InnoDB: Write to file ./ib_logfile101failed at offset 0, 1048576 bytes should have been written' >&2; exit 2`;
    const engineDirectory = lab.engineThatFirst(during('prepare', full));
    expect(await failureOf(lab.chain.restore({ directory, engineDirectory }))).toMatch(/^DiskFull: /);
    expect(existsSync(directory)).toBe(false);
    await lab.chain.restore({ directory });
    await restored(directory);
    expect(existsSync(stagingOf(directory))).toBe(false);
  });

  it.each([
    ['61d: nothing was prepared', `echo 'completed OK!' >&2; exit 0`, /^PrepareIncomplete: .*is full-backuped, not/],
    [
      '61e: the last step left it open for more',
      'case "$*" in *--incremental-dir=*-0002*) set -- "$@" --apply-log-only;; esac',
      /^PrepareIncomplete: .*is log-applied, not full-prepared/,
    ],
  ])('%s: it is not handed over', async (_, script, message) => {
    expect(await refused(during('prepare', script))).toMatch(message);
  });

  it('48: a server would start with another keyring and read nothing: refused before anything is touched', async () => {
    const path = lab.fresh('keyring');
    writeFileSync(path, readFileSync(stale));
    const directory = lab.fresh('data');
    mkdirSync(directory);
    for (const name of ['ibdata1', 'ib_logfile0']) writeFileSync(join(directory, name), 'old');
    const replacing = lab.chain.restore({
      mode: 'replace',
      directory,
      server: { ...lab.chain.server, dataDirectory: directory, socket: join(lab.directory, 'none.sock') },
      tablespaceEncryption: { kind: 'keyring-file', path, transition: 'none' },
    });
    expect(await failureOf(replacing)).toMatch(/^KeyringUnreadable: .*has not these keys/);
    expect(readFileSync(join(directory, 'ibdata1'), 'utf8')).toBe('old');
    expect(existsSync(stagingOf(directory))).toBe(false);
  });
});

interface Later {
  readonly version: string;
  readonly component?: boolean;
}

const LATER: readonly Later[] = [
  { version: '2.4.29' },
  { version: '8.0.35' },
  { version: '8.4.0', component: true },
  { version: '9.7.1', component: true },
];
const whyNotLater = isStandIn ? undefined : 'only the stand-in is other versions than it is';

// What later versions refuse themselves is refused by name as well, and what they still let pass like 2.4.7 is.
for (const { version, component } of LATER)
  describeWhere(whyNotLater, `XtraBackup ${version}`, () => {
    let lab: XtrabackupLab;
    const kind = component ? 'component-keyring-file' : 'keyring-file';

    beforeAll(async () => {
      lab = await XtrabackupLab.create({ version, ...(component ? { component } : {}) });
    }, 120_000);
    afterAll(async () => {
      await lab?.close();
    });

    const takeWith = async (transition: 'none' | 'passphrase'): Promise<void> => {
      lab.chain.newChain();
      lab.chain.tablespaceEncryption = { kind, path: lab.keyring, transition };
      await lab.server.stayDirty();
      await lab.addRows('enc', 100);
      await lab.chain.backup();
    };
    const backup = (script: string): Promise<string> =>
      failureOf(lab.chain.backup({ engineDirectory: lab.engineThatFirst(during('backup', script)) }));
    const restore = (script: string): Promise<string> =>
      failureOf(lab.chain.restore({ directory: lab.fresh('restored'), engineDirectory: lab.engineThatFirst(script) }));

    it('41: fails itself without the keyring (2.4.16)', async () => {
      lab.chain.newChain();
      const without = component
        ? `mv '${lab.keyring}' '${lab.keyring}.away'; "$PROGRAM" "$@"; R=$?; mv '${lab.keyring}.away' '${lab.keyring}'; exit $R`
        : dropping('--keyring*');
      expect(await backup(without)).toMatch(/^(EngineLostData|KeyringUnreadable): /);
    });

    it('49: redo of an encrypted table without its key is refused (8.0.34 fails itself)', async () => {
      await takeWith('none');
      expect(await restore(during('prepare', dropping('--*keyring*')))).toMatch(
        /^(PrepareIncomplete|PrepareFailed|KeyringUnreadable): /,
      );
    });

    it('61d, 61e: what was not prepared is never moved under a new master key (8.0.28 refuses itself)', async () => {
      await takeWith('passphrase');
      const moved = lab.fresh('moved');
      const script = `${during('prepare', 'set -- "$@" --apply-log-only')}; ${during('move-back', `: >'${moved}'`)}`;
      const target = { kind, path: lab.fresh('keyring'), transition: 'passphrase' } as const;
      const engineDirectory = lab.engineThatFirst(script);
      const directory = lab.fresh('restored');
      expect(await failureOf(lab.chain.restore({ directory, engineDirectory, tablespaceEncryption: target }))).toMatch(
        /^PrepareIncomplete: .*is log-applied, not full-prepared/,
      );
      expect(existsSync(moved) || existsSync(directory)).toBe(false);
    });

    it('73c: a misspelt option is ignored by 2.4 and refused from 8.0 on', async () => {
      lab.chain.newChain();
      lab.chain.tablespaceEncryption = { kind, path: lab.keyring, transition: 'none' };
      expect(await backup('set -- "$@" --paralel=2')).toMatch(
        version.startsWith('2.4') ? /^no error$/ : /^EngineUnsuited: .*unknown argument/,
      );
    });

    // 8.x copies the configuration of a component into the backup.
    it.each(['native', 'sealed'] as const)('leaves no configuration of a keyring in clear: %s', async (mode) => {
      lab.chain.encryption = { mode, algorithm: 'AES256' };
      await takeWith('none');
      const { manifest } = lab.chain.taken[0] as TakenBackup;
      for (const { key } of manifest.segments) {
        const body = lab.chain.repository.objects.get(key) as Buffer;
        const stored = mode === 'native' ? zstdDecompressSync(body) : body;
        expect(stored.includes('component_keyring_file.cnf.xbcrypt')).toBe(mode === 'native' && component === true);
        expect(stored.includes(lab.keyring)).toBe(false);
      }
      const directory = lab.fresh('restored');
      await lab.chain.restore({ directory });
      lab.chain.encryption = { mode: 'sealed', algorithm: 'AES256' };
      expect(readdirSync(directory).filter((name) => /keyring/.test(name))).toEqual([]);
    });

    it('PXB-3571: a backup for a transition key is refused where it has no keys of tablespaces', async () => {
      await takeWith('passphrase');
      lab.chain.newChain();
      const without = lab.fresh('options');
      const script = `grep -v transition-key "\${1#*=}" >'${without}'; shift; set -- '--defaults-file=${without}' "$@"`;
      expect(await backup(script)).toMatch(/^EngineLostData: the stream holds no xtrabackup_keys/);
    });

    it('PXB-3571: a backup for a transition key is refused where it lacks the key of a tablespace', async () => {
      await takeWith('passphrase');
      lab.chain.newChain();
      const [forger, stream] = [lab.fresh('forge.cjs'), lab.fresh('stream')];
      writeFileSync(forger, FORGE_KEYS);
      const header = 7 + 64 + (version.startsWith('2.4') ? 83 : 77);
      const script = `"$PROGRAM" "$@" >'${stream}' || exit; '${process.execPath}' '${forger}' '${stream}' ${header}; exit 0`;
      expect(await backup(script)).toMatch(
        /^EngineLostData: xtrabackup_keys lacks the keys of 1 tablespaces, among them app\/enc$/,
      );
    });
  });
