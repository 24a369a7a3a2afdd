import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeWhere } from './describe-where.ts';
import { isStandIn, whyNotComponent, whyNotVersion } from './engine-home.ts';
import { filesIn, Lab, metadataIn } from './lab.ts';

// What later versions do otherwise, as their sources and documentation say: of the stand-in, or of an installation of that version.

const PASSPHRASE = 'Zm9vYmFyYmF6cXV4cXV1eGNvcmdlZ3JhdWx0Z2FycGx';

describeWhere(whyNotVersion('2.4.29'), '2.4.29', () => {
  let lab: Lab;
  let full: string;

  beforeAll(async () => {
    lab = await Lab.create({ version: '2.4.29' });
    full = await lab.taken();
  });

  afterAll(async () => {
    await lab.close();
  });

  it('fails without the keyring (2.4.16)', async () => {
    const { code, log } = await lab.backup(lab.fresh('x'), [], { keyring: 'none' });
    expect(code).toBe(1);
    expect(log).toMatch(/Space ID \d+ is missing encryption information\./);
  });

  it('leaves checkpoints and .meta in clear (2.4.12), and the info beside the checkpoints of --extra-lsndir (2.4.8)', async () => {
    const extra = lab.fresh('lsn');
    const directory = await lab.taken([
      '--encrypt=AES256',
      `--encrypt-key-file=${lab.keyFile}`,
      `--incremental-basedir=${full}`,
      `--extra-lsndir=${extra}`,
    ]);
    expect(metadataIn(directory)?.type).toBe('incremental');
    expect(filesIn(directory)).toContain('app/enc.ibd.meta');
    expect(filesIn(directory)).toContain('app/enc.ibd.delta.xbcrypt');
    expect(filesIn(extra)).toEqual(['xtrabackup_checkpoints', 'xtrabackup_info']);
  });

  it('fails to extract onto a file (2.4.12) and to decrypt a damaged one (2.4.20)', async () => {
    const stream = lab.fresh('stream');
    await lab.backup(lab.fresh('tmp'), ['--stream=xbstream'], { into: stream });
    const into = lab.fresh('x');
    mkdirSync(into);
    writeFileSync(join(into, 'ibdata1'), '');
    expect((await lab.run('xbstream', ['-x', '-C', into], { from: stream })).code).toBe(1);

    const sealed = await lab.taken(['--encrypt=AES256', `--encrypt-key-file=${lab.keyFile}`]);
    const content = readFileSync(join(sealed, 'ibdata1.xbcrypt'));
    content[1000] = (content[1000] as number) ^ 1;
    writeFileSync(join(sealed, 'ibdata1.xbcrypt'), content);
    const ran = await lab.run('xtrabackup', [
      '--decrypt=AES256',
      `--encrypt-key-file=${lab.keyFile}`,
      '--remove-original',
      `--target-dir=${sealed}`,
    ]);
    expect(ran.code).toBe(1);
    expect(existsSync(join(sealed, 'ibdata1.xbcrypt'))).toBe(true);
  });

  describe('with a transition key', () => {
    const key = `--transition-key=${PASSPHRASE}`;
    let base: string;
    let increment: string;
    let checksums: string;

    beforeAll(async () => {
      base = await lab.taken([key]);
      await lab.addRows('enc', 30);
      await lab.server.query("CREATE TABLE app.later (id INT PRIMARY KEY) ENCRYPTION='Y'");
      await lab.server.query('INSERT INTO app.later VALUES (1)');
      increment = await lab.taken([key, `--incremental-basedir=${base}`]);
      checksums = await lab.server.checksums('app.enc', 'app.plain', 'app.later');
    });

    const prepareAll = async (args: readonly string[]): Promise<string> => {
      const copy = lab.copyOf(base);
      const first = await lab.prepare(copy, ['--apply-log-only', ...args], 'none');
      expect(first.code, first.log).toBe(0);
      const last = await lab.prepare(copy, [`--incremental-dir=${lab.copyOf(increment)}`, ...args], 'none');
      expect(last.code, last.log).toBe(0);
      return copy;
    };

    it('is in the backup as a file of its own kind', () => {
      const content = readFileSync(join(base, 'xtrabackup_keys'));
      expect(content.toString('latin1', 0, 7)).toBe('KEYSV01');
      expect((content.length - 7 - 64 - 83) % 72).toBe(0);
      expect(readFileSync(join(base, 'xtrabackup_info'), 'utf8')).not.toContain(PASSPHRASE);
    });

    it('prepares without any keyring, and the restored server gets a new master key', async () => {
      const prepared = await prepareAll([key]);
      const dataDirectory = lab.fresh('data');
      const keyring = lab.fresh('new-keyring');
      const ran = await lab.run('xtrabackup', [
        '--no-defaults',
        '--copy-back',
        '--generate-new-master-key',
        key,
        `--keyring-file-data=${keyring}`,
        `--datadir=${dataDirectory}`,
        `--target-dir=${prepared}`,
      ]);
      expect(ran.code, ran.log).toBe(0);
      const { LabServer } = await import('./lab-server.ts');
      const server = new LabServer({
        dataDirectory,
        socket: join(lab.root, 'tk.sock'),
        errorLog: join(lab.root, 'tk.log'),
        keyring,
        environment: { REDOUBT_STANDIN_VERSION: '2.4.29' },
      });
      await server.start();
      try {
        expect(await server.checksums('app.enc', 'app.plain', 'app.later')).toBe(checksums);
      } finally {
        await server.kill();
      }
    });

    it('refuses another passphrase', async () => {
      const { code, log } = await lab.prepare(lab.copyOf(base), ['--transition-key=other'], 'none');
      expect(code).toBe(1);
      expect(log).toMatch(
        /Error reading xtrabackup_keys: failed to decrypt key and iv for tablespace \d+\. Wrong transition key\?/,
      );
      expect(log).toContain('failed to load tablespace keys');
    });

    it('refuses a passphrase for a backup that was taken without', async () => {
      const { code, log } = await lab.prepare(lab.copyOf(full), [key], 'none');
      expect(code).toBe(1);
      expect(log).toContain('--transition-key specified, but xtrabackup_keys is not found.');
    });

    it('refuses a damaged file', async () => {
      const copy = lab.copyOf(base);
      writeFileSync(join(copy, 'xtrabackup_keys'), 'something else entirely');
      const { code, log } = await lab.prepare(copy, [key], 'none');
      expect(code).toBe(1);
      expect(log).toContain('Error reading xtrabackup_keys: wrong magic.');
    });
  });

  it('generates a transition key into the keyring, which a prepare then needs', async () => {
    const target = await lab.taken(['--generate-transition-key']);
    const stored = readFileSync(lab.keyring, 'latin1');
    expect(stored).toContain('XBKey-');
    expect(readFileSync(join(target, 'xtrabackup_keys'), 'latin1')).toContain('XBKey-');
    const copy = lab.copyOf(target);
    const without = await lab.prepare(copy, [], 'none');
    expect(without.code).toBe(1);
    expect(without.log).toContain("Can't fetch the key, please check the keyring plugin is loaded.");
    expect((await lab.prepare(copy)).code).toBe(0);
  });
});

for (const version of ['8.0.35', '8.4.0', '9.7.1'])
  describeWhere(whyNotVersion(version) ?? whyNotComponent(), version, () => {
    let lab: Lab;
    let full: string;
    let checksums: string;

    beforeAll(async () => {
      lab = await Lab.create({ version, component: true });
      full = await lab.taken();
      checksums = await lab.server.checksums('app.enc', 'app.plain');
    });

    afterAll(async () => {
      await lab.close();
    });

    it('says everything in the form of the server log', async () => {
      const { log } = await lab.backup(lab.fresh('x'));
      expect(log.trimEnd().split('\n').at(-1)).toMatch(
        /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d 0 \[Note\] \[MY-011825\] \[Xtrabackup\] completed OK!$/,
      );
    });

    it('needs no option for the keyring: the server tells, and its configuration is in the backup', async () => {
      const configuration = readFileSync(join(full, 'component_keyring_file.cnf'), 'utf8');
      expect(JSON.parse(configuration)).toEqual({ path: lab.keyring, read_only: false });
      const copy = lab.copyOf(full);
      expect((await lab.prepare(copy)).code).toBe(0);
      expect(await lab.restored(copy, (server) => server.checksums('app.enc', 'app.plain'))).toBe(checksums);
    });

    it('refuses an option it does not know, after it has connected', async () => {
      const { code, log } = await lab.backup(lab.fresh('x'), ['--no-such-option']);
      expect(code).toBe(1);
      expect(log).toContain('Using server version');
      expect(log).toContain("unknown argument: '--no-such-option'");
      expect((await lab.backup(lab.fresh('x'), ['--no-such-option', '--strict=OFF'])).code).toBe(0);
    });

    it('refuses to copy back what is not prepared', async () => {
      const { code, log } = await lab.run('xtrabackup', [
        '--no-defaults',
        '--copy-back',
        `--datadir=${lab.fresh('data')}`,
        `--target-dir=${full}`,
      ]);
      expect(code).toBe(1);
      expect(log).toContain('The target is not fully prepared. Please prepare it without option --apply-log-only');
    });

    it('fails to prepare where the keyring is gone', async () => {
      const copy = lab.copyOf(full);
      writeFileSync(
        join(copy, 'component_keyring_file.cnf'),
        JSON.stringify({ path: join(lab.root, 'nope'), read_only: false }),
      );
      const { code, log } = await lab.prepare(copy);
      expect(code).toBe(1);
      expect(log).toContain('failed to init keyring component');
      writeFileSync(join(copy, 'component_keyring_file.cnf'), '{');
      expect((await lab.prepare(copy)).log).toContain('Component configuration file is not a valid JSON.');
    });

    it('takes another configuration, if its name is right', async () => {
      const copy = lab.copyOf(full);
      rmSync(join(copy, 'component_keyring_file.cnf'));
      const directory = lab.fresh('cnf');
      mkdirSync(directory);
      const path = join(directory, 'component_keyring_file.cnf');
      writeFileSync(path, JSON.stringify({ path: lab.keyring, read_only: false }));
      expect((await lab.prepare(copy, [`--component-keyring-config=${path}`])).code).toBe(0);
      const { code, log } = await lab.prepare(lab.copyOf(full), [`--component-keyring-config=${lab.keyring}`]);
      expect(code).toBe(1);
      expect(log).toContain(`Unable to read ${lab.keyring} passed as --component-keyring-config parameter`);
    });

    it('cannot prepare without xtrabackup_info', async () => {
      const copy = lab.copyOf(full);
      rmSync(join(copy, 'xtrabackup_info'));
      const { code, log } = await lab.prepare(copy);
      expect(code).toBe(1);
      expect(log).toContain("Failed to parse xtrabackup_info from './xtrabackup_info'");
    });

    it('compresses by zstd, and xbstream decrypts and decompresses in one go', async () => {
      const stream = lab.fresh('stream');
      const ran = await lab.backup(
        lab.fresh('tmp'),
        ['--stream=xbstream', '--compress', '--encrypt=AES256', `--encrypt-key-file=${lab.keyFile}`],
        { into: stream },
      );
      expect(ran.code, ran.log).toBe(0);
      const packed = lab.fresh('packed');
      const open = lab.fresh('open');
      for (const directory of [packed, open]) mkdirSync(directory);
      await lab.run('xbstream', ['-x', '-C', packed], { from: stream });
      expect(filesIn(packed)).toContain('app/enc.ibd.zst.xbcrypt');
      const opened = await lab.run(
        'xbstream',
        ['-x', '-C', open, '--decrypt=AES256', `--encrypt-key-file=${lab.keyFile}`, '--decompress'],
        { from: stream },
      );
      expect(opened.code, opened.log).toBe(0);
      expect((await lab.prepare(open)).code).toBe(0);
      expect(await lab.restored(open, (server) => server.checksums('app.enc', 'app.plain'))).toBe(checksums);
    });

    it('refuses an absolute path in a stream', async () => {
      const name = Buffer.from('/tmp/redoubt-must-not-exist');
      const head = Buffer.concat([Buffer.from('XBSTCK01\0E'), Buffer.alloc(4), name]);
      head.writeUInt32LE(name.length, 10);
      const into = lab.fresh('x');
      mkdirSync(into);
      const { code, log } = await lab.run('xbstream', ['-x', '-C', into], { from: head });
      expect(code).toBe(1);
      expect(log).toContain('absolute path not allowed: /tmp/redoubt-must-not-exist');
    });

    it('lists the tablespaces outside the data directory: none', () => {
      expect(readFileSync(join(full, 'xtrabackup_tablespaces'), 'utf8')).toBe(
        '{"version":2,"external_tablespaces":[]}',
      );
    });

    it('restores an increment', async () => {
      await lab.addRows('enc', 20);
      const increment = await lab.taken([`--incremental-basedir=${full}`]);
      const after = await lab.server.checksums('app.enc', 'app.plain');
      const copy = lab.copyOf(full);
      await lab.prepared(copy, [increment]);
      expect(await lab.restored(copy, (server) => server.checksums('app.enc', 'app.plain'))).toBe(after);
    });

    it('shows which keyring it has only to who may see it', async () => {
      await lab.server.query("CREATE USER 'poor'@'localhost' IDENTIFIED BY 'x'");
      await lab.server.query(
        "GRANT BACKUP_ADMIN, PROCESS, RELOAD, LOCK TABLES, REPLICATION CLIENT ON *.* TO 'poor'@'localhost'",
      );
      const { code, log } = await lab.backup(lab.fresh('x'), ['--user=poor', '--password=x']);
      expect(code).toBe(1);
      expect(log).toContain('keyring_component_status');
    });
  });

describeWhere(whyNotVersion('8.0.35'), '8.0.35 with the keyring plugin', () => {
  it('takes --keyring-file-data, at the backup and at the prepare', async () => {
    const lab = await Lab.create({ version: '8.0.35' });
    try {
      const full = await lab.taken();
      const checksums = await lab.server.checksums('app.enc');
      expect(filesIn(full)).toContain('app/enc.ibd');
      expect(filesIn(full)).not.toContain('component_keyring_file.cnf');
      await lab.prepared(full);
      expect(await lab.restored(full, (server) => server.checksums('app.enc'))).toBe(checksums);
    } finally {
      await lab.close();
    }
  });
});

describeWhere(isStandIn ? undefined : 'an installation has one server', '8.0.35 and a server of 5.7', () => {
  it('do not go together', async () => {
    const lab = await Lab.create();
    try {
      const { code, log } = await lab.backup(lab.fresh('x'), [], { env: { REDOUBT_STANDIN_VERSION: '8.0.35' } });
      expect(code).toBe(1);
      expect(log).toContain("Unsupported server version: '5.7.13-log'.");
    } finally {
      await lab.close();
    }
  });
});
