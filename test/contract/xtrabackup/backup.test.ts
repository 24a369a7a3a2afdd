import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeWhere } from './describe-where.ts';
import { keepKeys } from './keyring-file.ts';
import { filesIn, KEY, Lab, metadataIn } from './lab.ts';
import { runProgram, whileStopped } from './run-program.ts';

// What xtrabackup 2.4 does at a backup. Numbers are those of the recorded runs of 2.4.7.

let lab: Lab;

beforeAll(async () => {
  lab = await Lab.create();
});

afterAll(async () => {
  await lab.close();
});

const NO_KEY = "Encryption can't find master key, please check the keyring plugin is loaded.";
const NOT_DECRYPTABLE =
  "InnoDB: Encryption information in datafile: ./app/enc.ibd can't be decrypted , please confirm the keyfile is match and keyring plugin is loaded.";

describe('a full backup', () => {
  it('ends with exit code 0 and the line everybody looks for (10)', async () => {
    const { code, log, stdout } = await lab.backup(lab.fresh('full'));
    expect(code).toBe(0);
    expect(log.trimEnd().split('\n').at(-1)).toMatch(/^\d{6} \d\d:\d\d:\d\d completed OK!$/);
    expect(stdout).toHaveLength(0);
  });

  it('holds every tablespace, the redo, the definitions and what describes it (40)', async () => {
    const files = filesIn(await lab.taken());
    for (const file of [
      'ibdata1',
      'app/enc.ibd',
      'app/plain.ibd',
      'app/enc.frm',
      'app/my.MYD',
      'app/my.MYI',
      'app/db.opt',
      'backup-my.cnf',
      'xtrabackup_binlog_info',
      'xtrabackup_checkpoints',
      'xtrabackup_info',
      'xtrabackup_logfile',
    ])
      expect(files).toContain(file);
  });

  it('names its LSNs: 0, the last checkpoint, and the end of the redo, 9 bytes later on an idle server (40)', async () => {
    await lab.server.flush();
    const metadata = metadataIn(await lab.taken());
    const { lsn, checkpoint } = await lab.server.lsns();
    expect(metadata).toEqual({ type: 'full-backuped', from: '0', to: String(checkpoint), last: String(lsn) });
    expect(lsn - checkpoint).toBe(9);
  });

  it('writes the checkpoints, in clear, to the directory of --extra-lsndir too (11)', async () => {
    const extra = lab.fresh('lsn');
    const directory = await lab.taken([
      '--encrypt=AES256',
      `--encrypt-key-file=${lab.keyFile}`,
      `--extra-lsndir=${extra}`,
    ]);
    expect(metadataIn(extra)?.type).toBe('full-backuped');
    expect(existsSync(join(directory, 'xtrabackup_checkpoints'))).toBe(false);
    expect(existsSync(join(directory, 'xtrabackup_checkpoints.xbcrypt'))).toBe(true);
  });

  it('keeps the page of an encrypted table encrypted', async () => {
    const directory = await lab.taken();
    expect(readFileSync(join(directory, 'app/plain.ibd')).includes('aaaaaaaaaaaaaaaa')).toBe(true);
    expect(readFileSync(join(directory, 'app/enc.ibd')).includes('aaaaaaaaaaaaaaaa')).toBe(false);
  });

  it('stores its command line, the secrets left out (40)', async () => {
    const info = readFileSync(join(await lab.taken(), 'xtrabackup_info'), 'utf8');
    expect(info).toContain(' --password=... ');
    expect(info).not.toContain('s3cret');
    expect(info).toMatch(/^innodb_from_lsn = 0$/m);
    expect(info).toMatch(/^server_version = 5\.7\.13-log$/m);
  });

  it('tells the binary log position in the form a replica needs (40)', async () => {
    const directory = await lab.taken();
    const [row] = await lab.server.query('SHOW MASTER STATUS');
    expect(readFileSync(join(directory, 'xtrabackup_binlog_info'), 'utf8')).toBe(`${row?.File}\t${row?.Position}\n`);
  });

  it('accepts a target that holds something else (60b)', async () => {
    const target = lab.fresh('used');
    mkdirSync(target);
    writeFileSync(join(target, 'unrelated'), 'x');
    expect((await lab.backup(target)).code).toBe(0);
  });

  it('copies a relative target to where it was started (73g)', async () => {
    const { code } = await lab.backup('relative', [], { cwd: lab.root });
    expect(code).toBe(0);
    expect(metadataIn(join(lab.root, 'relative'))?.type).toBe('full-backuped');
  });
});

describe('the history table', () => {
  it('remembers a backup under a name, and gives an increment its LSN', async () => {
    const named = await lab.taken(['--history=nightly']);
    const [row] = await lab.server.query(
      "SELECT uuid, innodb_to_lsn, tool_command FROM PERCONA_SCHEMA.xtrabackup_history WHERE name = 'nightly'",
    );
    expect(String(row?.innodb_to_lsn)).toBe(metadataIn(named)?.to);
    expect(String(row?.tool_command)).not.toContain('s3cret');
    for (const option of ['--incremental-history-name=nightly', `--incremental-history-uuid=${row?.uuid}`])
      expect(metadataIn(await lab.taken([option]))).toMatchObject({
        type: 'incremental',
        from: metadataIn(named)?.to,
      });
  });

  it('fails an increment on a name it does not know', async () => {
    const { code, log } = await lab.backup(lab.fresh('x'), ['--incremental-history-name=nope']);
    expect(code).toBe(1);
    expect(log).toMatch(/error while attempting to find history record for name/i);
  });
});

describe('silent at a backup: exit 0 and "completed OK!", but', () => {
  const lost = async (ran: Awaited<ReturnType<Lab['backup']>>, target: string): Promise<void> => {
    expect(ran.code, ran.log).toBe(0);
    expect(ran.log).toContain('completed OK!');
    expect(ran.log).toContain(NOT_DECRYPTABLE);
    expect(filesIn(target)).not.toContain('app/enc.ibd');
    expect(filesIn(target)).toContain('app/enc.frm');
    expect(filesIn(target)).toContain('app/plain.ibd');
  };

  it('41: without the keyring option encrypted tables are left out', async () => {
    const target = lab.fresh('nokr');
    const ran = await lab.backup(target, [], { keyring: 'none' });
    await lost(ran, target);
    expect(ran.log).toContain(NO_KEY);
  });

  it('41c: so they are with a path where there is nothing', async () => {
    const target = lab.fresh('nokr');
    const ran = await lab.backup(target, [], { keyring: join(lab.root, 'keyring/nope') });
    await lost(ran, target);
    expect(ran.log).toContain('Could not find keyring file.');
    expect(ran.log).toContain(NO_KEY);
  });

  it('46, 99c: so they are with a keyring that lacks the newest key, and only one line says it', async () => {
    const stale = lab.keyringCopy();
    await lab.server.query('ALTER INSTANCE ROTATE INNODB MASTER KEY');
    await lab.server.flush();
    const target = lab.fresh('stale');
    const ran = await lab.backup(target, [], { keyring: stale });
    await lost(ran, target);
    expect(ran.log).not.toContain(NO_KEY);
  });

  describeWhere(process.getuid?.() === 0 ? undefined : 'only root may become one', 'as another user', () => {
    const other = { uid: 65_534, gid: 0 };

    it.each([
      ['62e: a keyring it may not read', 0o600],
      ['62f: a keyring it may not write', 0o640],
    ])('%s', async (_, mode) => {
      const keyring = lab.keyringCopy();
      const parent = lab.fresh('mine');
      mkdirSync(parent);
      const { chmodSync, chownSync } = await import('node:fs');
      chmodSync(keyring, mode);
      chmodSync(lab.root, 0o755);
      chownSync(parent, other.uid, other.gid);
      const target = join(parent, 'x');
      const ran = await lab.backup(target, [], { keyring, as: other });
      await lost(ran, target);
      expect(ran.log).toContain('keyring_file initialization failure.');
    });
  });

  it('59: an increment from an LSN of the future is taken, and only a line tells', async () => {
    const target = lab.fresh('future');
    const { code, log } = await lab.backup(target, ['--incremental-lsn=99999999999']);
    expect(code).toBe(0);
    expect(log).toContain('completed OK!');
    expect(log).toMatch(/incremental backup LSN 99999999999 is larger than than the last checkpoint LSN \d+/);
    const metadata = metadataIn(target);
    expect(metadata?.from).toBe('99999999999');
    expect(Number(metadata?.to)).toBeLessThan(99_999_999_999);
  });

  it.each([
    ['59d', '', '0'],
    ['59e', '0', '0'],
    ['59f', '-5', '18446744073709551611'],
  ])('%s: --incremental-lsn=%s counts from %s', async (_, given, from) => {
    const target = lab.fresh('lsn');
    const { code, log } = await lab.backup(target, [`--incremental-lsn=${given}`]);
    expect(code).toBe(0);
    expect(log).toContain('completed OK!');
    expect(metadataIn(target)).toMatchObject({ type: 'incremental', from });
  });

  it('73: the directory of the option file is copied, not the one of the server', async () => {
    const other = lab.fresh('other-data');
    const target = lab.fresh('mismatch');
    const base = await lab.taken();
    await lab.prepared(base);
    await runProgram('xtrabackup', ['--no-defaults', '--copy-back', `--datadir=${other}`, `--target-dir=${base}`]);
    const optionFile = lab.fresh('bad.cnf');
    writeFileSync(optionFile, `[mysqld]\ndatadir=${other}\n`);
    await lab.server.query('CREATE TABLE app.only_here (id INT PRIMARY KEY)');
    const { code, log } = await lab.backup(target, [], { optionFile });
    expect(code).toBe(0);
    expect(log).toContain('completed OK!');
    expect(log).toContain("Warning: option 'datadir' has different values:");
    expect(log).toContain(`xtrabackup: cd to ${other}`);
    expect(filesIn(target)).not.toContain('app/only_here.frm');
    await lab.server.query('DROP TABLE app.only_here');
  });

  it('73c: an option it does not know is ignored', async () => {
    const { code, log } = await lab.backup(lab.fresh('unknown'), ['--no-such-option']);
    expect(code).toBe(0);
    expect(log).toContain('completed OK!');
    expect(log).not.toContain('no-such-option');
  });

  it('73e: AES256 with a key of 16 bytes is AES-128', async () => {
    const target = lab.fresh('short-key');
    const { code, log } = await lab.backup(target, ['--encrypt=AES256', '--encrypt-key=0123456789abcdef']);
    expect(code).toBe(0);
    expect(log).toContain('completed OK!');
    const decrypted = await runProgram('xbcrypt', ['-d', '--encrypt-algo=AES128', '--encrypt-key=0123456789abcdef'], {
      from: join(target, 'xtrabackup_checkpoints.xbcrypt'),
    });
    expect(decrypted.stdout.toString()).toContain('backup_type = full-backuped');
  });

  it('99a: the same line appears, with the right keyring, for a table whose first page is not flushed', async () => {
    await lab.server.flush();
    await lab.server.stayDirty();
    await lab.server.query("CREATE TABLE app.fresh (id INT PRIMARY KEY, p VARCHAR(20)) ENCRYPTION='Y'");
    await lab.server.query("INSERT INTO app.fresh VALUES (1, 'x')");
    const target = lab.fresh('fresh');
    const { code, log } = await lab.backup(target);
    expect(code).toBe(0);
    expect(log).toContain("./app/fresh.ibd can't be decrypted ,");
    expect(log).not.toContain(NO_KEY);
    expect(filesIn(target)).not.toContain('app/fresh.ibd');
    // Its redo makes it again.
    await lab.prepared(target);
    expect(filesIn(target)).toContain('app/fresh.ibd');
    const rows = await lab.restored(target, (server) => server.query('SELECT * FROM app.fresh'));
    expect(rows).toEqual([{ id: 1, p: 'x' }]);
    await lab.server.query('DROP TABLE app.fresh');
    await lab.server.flush();
  });
});

describe('a backup that fails says so', () => {
  const fails = async (
    ran: Awaited<ReturnType<Lab['backup']>>,
    code: number,
    ...lines: readonly string[]
  ): Promise<void> => {
    expect(ran.code, ran.log).toBe(code);
    expect(ran.log).not.toContain('completed OK!');
    for (const line of lines) expect(ran.log).toContain(line);
  };

  it.each([
    ['31 characters', KEY.slice(1)],
    ['33 bytes, by a newline', `${KEY}\n`],
  ])('30: a key of %s', async (_, key) => {
    const keyFile = lab.fresh('key');
    writeFileSync(keyFile, key);
    await fails(
      await lab.backup(lab.fresh('x'), ['--encrypt=AES256', `--encrypt-key-file=${keyFile}`]),
      1,
      'encryption: unable to set libgcrypt cipher key - User defined source 1 : Invalid key length',
      'encrypt: failed to create worker threads.',
      'Error: failed to initialize datasink.',
    );
  });

  it('30: a key file that is not there', async () => {
    await fails(
      await lab.backup(lab.fresh('x'), ['--encrypt=AES256', `--encrypt-key-file=${lab.root}/nope.key`]),
      1,
      `xtrabackup:xb_crypt_read_key_file: unable to open config file "${lab.root}/nope.key", errno(2)`,
      'Error: failed to initialize datasink.',
    );
  });

  it.each(['abc', '4829040x'])('59c, 59g: --incremental-lsn=%s', async (text) => {
    await fails(
      await lab.backup(lab.fresh('x'), [`--incremental-lsn=${text}`]),
      1,
      `xtrabackup: value '${text}' may be wrong format for incremental option.`,
    );
  });

  it('59h: --incremental-basedir of nothing', async () => {
    const base = join(lab.root, 'nope');
    await fails(
      await lab.backup(lab.fresh('x'), [`--incremental-basedir=${base}`]),
      1,
      `xtrabackup: Error: cannot open ${base}//xtrabackup_checkpoints`,
      `xtrabackup: error: failed to read metadata from ${base}//xtrabackup_checkpoints`,
    );
  });

  it('60: a target that holds a backup', async () => {
    const target = await lab.taken();
    await fails(
      await lab.backup(target),
      1,
      `xtrabackup: Can't create/write to file '${target}/xtrabackup_logfile' (Errcode: 17 - File exists)`,
      "xtrabackup: error: failed to open the target stream for 'xtrabackup_logfile'.",
    );
  });

  it('60d: a target that holds an encrypted backup', async () => {
    const target = await lab.taken(['--encrypt=AES256', `--encrypt-key-file=${lab.keyFile}`]);
    await fails(
      await lab.backup(target, ['--encrypt=AES256', `--encrypt-key-file=${lab.keyFile}`]),
      1,
      'encrypt: ds_open("xtrabackup_logfile.xbcrypt") failed.',
      "xtrabackup: error: failed to open the target stream for 'xtrabackup_logfile'.",
    );
  });

  it('88b: a query that takes long, where it waits for the lock only so long', async () => {
    const connection = await lab.server.connect();
    const slow = connection.query('SELECT SLEEP(30) FROM app.plain LIMIT 1').catch(() => {});
    await lab.server.query('SELECT SLEEP(2)');
    const ran = await lab.backup(lab.fresh('x'), ['--ftwrl-wait-timeout=2', '--ftwrl-wait-threshold=1']);
    await lab.server.query(`KILL ${connection.threadId}`);
    await slow;
    connection.destroy();
    await fails(ran, 1, 'Unable to obtain lock. Please try again later.');
  });

  it('60c: a target whose parent is missing', async () => {
    const target = join(lab.root, 'no/such/parent');
    await fails(await lab.backup(target), 1, `xtrabackup: Error: cannot mkdir 2: ${target}/`);
  });

  it('70: a server that is not there', async () => {
    const socket = join(lab.root, 'nope.sock');
    await fails(
      await lab.backup(lab.fresh('x'), [`--socket=${socket}`]),
      1,
      `Failed to connect to MySQL server: Can't connect to local MySQL server through socket '${socket}' (2).`,
    );
  });

  it('71: a wrong password', async () => {
    await fails(
      await lab.backup(lab.fresh('x'), ['--password=wrong']),
      1,
      "Failed to connect to MySQL server: Access denied for user 'bk'@'localhost' (using password: YES).",
    );
  });

  it.each([
    ['PROCESS', 'RELOAD, REPLICATION CLIENT', 'SHOW ENGINE INNODB STATUS', 'PROCESS', false],
    ['RELOAD', 'PROCESS, REPLICATION CLIENT', 'FLUSH NO_WRITE_TO_BINLOG TABLES', 'RELOAD', true],
    ['REPLICATION CLIENT', 'PROCESS, RELOAD', 'SHOW MASTER STATUS', 'SUPER, REPLICATION CLIENT', true],
  ])('72: a user without %s', async (_, granted, query, named, copied) => {
    const user = `u${lab.fresh('').split('-').at(-1)}`;
    await lab.server.query(`CREATE USER '${user}'@'localhost' IDENTIFIED BY 'x'`);
    await lab.server.query(`GRANT ${granted} ON *.* TO '${user}'@'localhost'`);
    const ran = await lab.backup(lab.fresh('x'), [`--user=${user}`, '--password=x']);
    await fails(
      ran,
      1,
      `Error: failed to execute query ${query}: Access denied; you need (at least one of) the ${named} privilege(s) for this operation`,
    );
    // What it needs late, it asks for late: all data is copied by then.
    expect(ran.log.includes('Copying ./ibdata1')).toBe(copied);
  });

  it('73b: an option file that is not there', async () => {
    await fails(
      await lab.backup(lab.fresh('x'), [], { optionFile: `${lab.root}/nope.cnf` }),
      1,
      `xtrabackup: [ERROR] Could not open required defaults file: ${lab.root}/nope.cnf`,
      'xtrabackup: [ERROR] Fatal error in defaults handling. Program aborted!',
    );
  });

  it('73d: no mode', async () => {
    const ran = await runProgram('xtrabackup', ['--no-defaults', `--target-dir=${lab.fresh('x')}`]);
    expect(ran.code, ran.log).toBe(1);
    expect(ran.stdout.toString()).toContain('Usage: [xtrabackup [--defaults-file=#] --backup');
  });

  it('73f: an algorithm there is none of, with exit code 13', async () => {
    await fails(
      await lab.backup(lab.fresh('x'), ['--encrypt=AES512', `--encrypt-key-file=${lab.keyFile}`]),
      13,
      "xtrabackup: [ERROR] xtrabackup: Error while setting value 'AES512' to 'encrypt'",
    );
  });
});

describe('something happens in the middle', () => {
  const AT_IBDATA = /Copying \.\/ibdata1/;

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
    ['SIGKILL', 137],
  ] as const)('80: %s ends it at once, without checkpoints', async (signal, code) => {
    const target = lab.fresh('killed');
    const extra = lab.fresh('lsn');
    const ran = await lab.backup(target, ['--throttle=1', `--extra-lsndir=${extra}`], {
      on: { line: AT_IBDATA, act: (child) => void child.kill(signal) },
    });
    expect(ran.code, ran.log).toBe(code);
    expect(metadataIn(target)).toBeUndefined();
    expect(metadataIn(extra)).toBeUndefined();
    // 81, 81b: what is left is no backup, and is in the way of one.
    expect((await lab.prepare(target)).log).toContain('xtrabackup: Error: cannot open ./xtrabackup_checkpoints');
    expect((await lab.backup(target)).log).toContain('File exists');
  });

  it('98: everybody sees its backup key, and nobody its password', async () => {
    let seen = '';
    await lab.backup(lab.fresh('x'), ['--encrypt=AES256', `--encrypt-key=${KEY}`], {
      on: {
        line: /Encrypting \.\/ibdata1/,
        act: (child) => {
          seen = readFileSync(`/proc/${child.pid}/cmdline`, 'utf8');
        },
      },
    });
    expect(seen).toContain(KEY);
    expect(seen).not.toContain('s3cret');
  });

  it('82: while it holds the lock nothing is written; when it is killed the lock is gone', async () => {
    let blocked: Promise<unknown> | undefined;
    await lab.backup(lab.fresh('x'), [], {
      on: {
        line: /Starting to backup non-InnoDB tables and files/,
        act: async (child) => {
          child.kill('SIGSTOP');
          const connection = await lab.server.connect();
          let written = false;
          blocked = connection.query('CREATE TABLE app.blocked (a INT)').then(() => {
            written = true;
          });
          await lab.server.query('SELECT SLEEP(1)');
          expect(written).toBe(false);
          child.kill('SIGKILL');
          await blocked;
          connection.destroy();
        },
      },
    });
    await blocked;
    await lab.server.query('DROP TABLE app.blocked');
  });

  it('84: its connection is killed, and it notices after all data was copied', async () => {
    const ran = await lab.backup(lab.fresh('x'), [], {
      on: {
        line: AT_IBDATA,
        act: whileStopped(async () => {
          for (const { id } of await lab.server.query(
            "SELECT id AS id FROM information_schema.processlist WHERE user = 'bk'",
          ))
            await lab.server.query(`KILL ${id}`);
        }),
      },
    });
    expect(ran.code, ran.log).toBe(1);
    expect(ran.log).toContain(
      'Error: failed to execute query SET SESSION lock_wait_timeout=31536000: MySQL server has gone away',
    );
    expect(ran.log).toContain('Copying ./app/plain.ibd');
  });

  it('85: an index is built, and it crashes with exit code 2', async () => {
    const ran = await lab.backup(lab.fresh('x'), [], {
      on: {
        line: AT_IBDATA,
        act: whileStopped(async () => {
          await lab.server.query('ALTER TABLE app.plain ADD INDEX ix_payload (payload(50))');
        }),
      },
    });
    expect(ran.code, ran.log).toBe(2);
    expect(ran.log).toContain('An optimized(without redo logging) DDLoperation has been performed.');
    await lab.server.flush();
  });

  it('85b: an encrypted table is created: the redo brings it', async () => {
    const target = lab.fresh('ddl');
    const ran = await lab.backup(target, [], {
      on: {
        line: AT_IBDATA,
        act: whileStopped(async () => {
          await lab.server.query("CREATE TABLE app.newt (id INT PRIMARY KEY, p VARCHAR(20)) ENCRYPTION='Y'");
          await lab.server.query("INSERT INTO app.newt VALUES (1, 'x')");
        }),
      },
    });
    expect(ran.code, ran.log).toBe(0);
    await lab.prepared(target);
    expect(await lab.restored(target, (server) => server.query('SELECT * FROM app.newt'))).toEqual([{ id: 1, p: 'x' }]);
  });

  it('85c: a table is dropped: the redo takes it away', async () => {
    await lab.server.flush();
    const target = lab.fresh('ddl');
    const ran = await lab.backup(target, [], {
      on: {
        line: AT_IBDATA,
        act: whileStopped(async () => {
          await lab.server.query('DROP TABLE app.newt');
        }),
      },
    });
    expect(ran.code, ran.log).toBe(0);
    await lab.prepared(target);
    expect(await lab.restored(target, (server) => server.query("SHOW TABLES FROM app LIKE 'newt'"))).toEqual([]);
  });

  it('86: the master key is rotated: it cannot read the redo any more, and still is "completed OK!"', async () => {
    await lab.server.flush();
    const before = lab.keyringCopy();
    const target = lab.fresh('rotated');
    const expected = await lab.server.checksums('app.enc', 'app.plain');
    const ran = await lab.backup(target, [], {
      on: {
        line: AT_IBDATA,
        act: whileStopped(async () => {
          await lab.server.query('ALTER INSTANCE ROTATE INNODB MASTER KEY');
        }),
      },
    });
    expect(ran.code, ran.log).toBe(0);
    expect(ran.log).toContain('completed OK!');
    expect(ran.log).toMatch(/Encryption information in the redo log of space \d+ is invalid/);
    expect(ran.log).toContain('CORRUPT LOG RECORD FOUND');
    // 86c: with a keyring that lacks the new key its prepare crashes.
    const copy = lab.copyOf(target);
    keepKeys(before, before, () => false);
    const crashed = await lab.prepare(copy, [], before);
    expect(crashed.code).toBe(2);
    expect(crashed.log).toContain('xtrabackup got signal 11');
    // 86b: with the current one it is good.
    await lab.prepared(target);
    expect(await lab.restored(target, (server) => server.checksums('app.enc', 'app.plain'))).toBe(expected);
  });

  it('87: the redo log is overwritten before it is copied', async () => {
    const ran = await lab.backup(lab.fresh('x'), [], {
      on: {
        line: AT_IBDATA,
        act: whileStopped(async () => {
          for (let round = 0; round < 8; round++) {
            await lab.server.query(
              'CREATE TABLE app.big ENGINE=InnoDB AS SELECT a.id i1, b.id i2, REPEAT(a.payload, 3) p FROM app.plain a JOIN app.plain b LIMIT 5000',
            );
            await lab.server.query('DROP TABLE app.big');
          }
        }),
      },
    });
    expect(ran.code, ran.log).toBe(1);
    expect(ran.log).toContain('xtrabackup: error: log block numbers mismatch:');
    expect(ran.log).toMatch(/xtrabackup: error: expected log block no\. \d+, but got no\. \d+ from the log file\./);
    expect(ran.log).toContain('xtrabackup: Error: xtrabackup_copy_logfile() failed.');
  });

  it('83b: the server is killed, and it notices after all data was copied', async () => {
    const ran = await lab.backup(lab.fresh('x'), [], {
      on: { line: AT_IBDATA, act: whileStopped(() => lab.server.kill()) },
    });
    expect(ran.code, ran.log).toBe(1);
    expect(ran.log).toContain('MySQL server has gone away');
    expect(ran.log).toContain('Copying ./app/plain.ibd');
    await lab.server.start();
  });
});
