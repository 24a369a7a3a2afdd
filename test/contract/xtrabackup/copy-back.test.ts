import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { keepKeys } from './keyring-file.ts';
import { filesIn, Lab } from './lab.ts';
import { LabServer } from './lab-server.ts';
import { type Ran, runProgram } from './run-program.ts';

// Copy-back and the server that starts afterwards. Numbers are those of the recorded runs of 2.4.7.

let lab: Lab;
let unprepared: string;
let prepared: string;
let checksums: string;

const copyBack = (target: string, dataDirectory: string, args: readonly string[] = []): Promise<Ran> =>
  runProgram('xtrabackup', [
    '--no-defaults',
    '--copy-back',
    ...args,
    `--datadir=${dataDirectory}`,
    `--target-dir=${target}`,
  ]);

beforeAll(async () => {
  lab = await Lab.create();
  await lab.server.stayDirty();
  await lab.addRows('plain', 50);
  await lab.addRows('enc', 50);
  unprepared = await lab.taken();
  checksums = await lab.server.checksums('app.plain', 'app.enc', 'app.my');
  prepared = lab.copyOf(unprepared);
  await lab.prepared(prepared);
});

afterAll(async () => {
  await lab.close();
});

describe('a prepared backup', () => {
  it('becomes a data directory in which everything is there (25, 26)', async () => {
    expect(await lab.restored(prepared, (server) => server.checksums('app.plain', 'app.enc', 'app.my'))).toBe(
      checksums,
    );
  });

  it('is copied but for what describes the backup (25)', async () => {
    const dataDirectory = lab.fresh('data');
    const { code, log } = await copyBack(prepared, dataDirectory);
    expect(code).toBe(0);
    expect(log).toContain('completed OK!');
    const files = filesIn(dataDirectory);
    for (const name of ['ib_logfile0', 'ib_logfile1', 'ibdata1', 'app/enc.ibd', 'xtrabackup_info'])
      expect(files).toContain(name);
    for (const name of ['backup-my.cnf', 'xtrabackup_checkpoints', 'xtrabackup_logfile', 'xtrabackup_binlog_info'])
      expect(files).not.toContain(name);
  });

  it('gets a new server uuid', async () => {
    const [own] = await lab.server.query('SELECT @@server_uuid AS uuid');
    const [other] = await lab.restored(prepared, (server) => server.query('SELECT @@server_uuid AS uuid'));
    expect(other?.uuid).not.toBe(own?.uuid);
  });

  it('is moved by --move-back', async () => {
    const copy = lab.copyOf(prepared);
    const dataDirectory = lab.fresh('data');
    const ran = await runProgram('xtrabackup', [
      '--no-defaults',
      '--move-back',
      `--datadir=${dataDirectory}`,
      `--target-dir=${copy}`,
    ]);
    expect(ran.code, ran.log).toBe(0);
    expect(existsSync(join(copy, 'ibdata1'))).toBe(false);
    expect(existsSync(join(dataDirectory, 'ibdata1'))).toBe(true);
  });
});

describe('silent at copy-back: exit 0 and "completed OK!", but', () => {
  it('61d: a backup that was never prepared is copied, its redo is not', async () => {
    const dataDirectory = lab.fresh('data');
    const { code, log } = await copyBack(unprepared, dataDirectory);
    expect(code).toBe(0);
    expect(log).toContain('completed OK!');
    expect(filesIn(dataDirectory).some((file) => /logfile/.test(file))).toBe(false);
  });

  it('61e: so is one with the log applied only', async () => {
    const copy = lab.copyOf(unprepared);
    expect((await lab.prepare(copy, ['--apply-log-only'])).code).toBe(0);
    const { code, log } = await copyBack(copy, lab.fresh('data'));
    expect(code).toBe(0);
    expect(log).toContain('completed OK!');
  });

  it('files that are still encrypted are left behind', async () => {
    const copy = lab.copyOf(prepared);
    writeFileSync(join(copy, 'app/other.ibd.xbcrypt'), 'x');
    const dataDirectory = lab.fresh('data');
    expect((await copyBack(copy, dataDirectory)).code).toBe(0);
    expect(filesIn(dataDirectory).some((file) => file.includes('other.ibd'))).toBe(false);
  });
});

describe('a copy-back that fails says so', () => {
  it('61: a data directory that is not empty', async () => {
    const dataDirectory = lab.fresh('data');
    mkdirSync(dataDirectory);
    writeFileSync(join(dataDirectory, 'x'), '');
    expect(await copyBack(prepared, dataDirectory)).toMatchObject({
      code: 1,
      log: expect.stringContaining(`Original data directory ${dataDirectory} is not empty!`),
    });
  });

  it('61b: a file that is there, even if it is told to go on', async () => {
    const dataDirectory = lab.fresh('data');
    mkdirSync(dataDirectory);
    writeFileSync(join(dataDirectory, 'ibdata1'), 'mine');
    const { code, log } = await copyBack(prepared, dataDirectory, ['--force-non-empty-directories']);
    expect(code).toBe(1);
    expect(log).toContain(`Can't create/write to file '${dataDirectory}/ibdata1' (Errcode: 17 - File exists)`);
    expect(log).toContain('[01] Error: copy_file() failed.');
    expect(readFileSync(join(dataDirectory, 'ibdata1'), 'utf8')).toBe('mine');
  });

  it('61c: no data directory', async () => {
    const ran = await runProgram('xtrabackup', ['--no-defaults', '--copy-back', `--target-dir=${prepared}`]);
    expect(ran.code).toBe(1);
    expect(ran.log).toContain('Error: datadir must be specified.');
  });

  it('61f: an increment', async () => {
    const increment = await lab.taken([`--incremental-basedir=${unprepared}`]);
    const { code, log } = await copyBack(increment, lab.fresh('data'));
    expect(code).toBe(1);
    expect(log).toContain("xtrabackup: File 'ibdata1' not found (Errcode: 2 - No such file or directory)");
  });
});

describe('a server whose keyring is not the right one', () => {
  const started = async (keyring: string | undefined, look: (server: LabServer) => Promise<void>): Promise<void> => {
    const dataDirectory = lab.fresh('data');
    expect((await copyBack(prepared, dataDirectory)).code).toBe(0);
    const server = new LabServer({
      dataDirectory,
      socket: join(lab.root, `k${dataDirectory.split('-').at(-1)}.sock`),
      errorLog: lab.fresh('error.log'),
      ...(keyring === undefined ? {} : { keyring }),
    });
    await server.start();
    try {
      await look(server);
    } finally {
      await server.kill();
    }
  };

  const refusesEncrypted = async (server: LabServer): Promise<void> => {
    expect(await server.count('app.plain')).toBe(450);
    await expect(server.query('SELECT COUNT(*) FROM app.enc')).rejects.toMatchObject({
      errno: 3185,
      message: "Can't find master key from keyring, please check keyring plugin is loaded.",
    });
  };

  it('48: starts, and refuses the encrypted tables only', async () => {
    const keyring = lab.fresh('keyring');
    keepKeys(lab.keyring, keyring, () => false);
    await started(keyring, async (server) => {
      await refusesEncrypted(server);
      expect(server.errorLog()).toContain("Encryption information in datafile: ./app/enc.ibd can't be decrypted ,");
    });
  });

  it('48b: so it does without any', async () => {
    await started(undefined, async (server) => {
      await refusesEncrypted(server);
      expect(server.errorLog()).toContain(
        "Encryption can't find master key, please check the keyring plugin is loaded.",
      );
    });
  });
});
