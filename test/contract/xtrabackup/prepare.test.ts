import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { keepKeys, keyIds, spoilKeys } from './keyring-file.ts';
import { filesIn, Lab, metadataIn } from './lab.ts';
import type { Ran } from './run-program.ts';

// What xtrabackup 2.4 does at a prepare. Numbers are those of the recorded runs of 2.4.7.

let lab: Lab;

/** A chain taken from a flushed server each time: nothing of the tables is in the redo. */
let full: string;
let inc1: string;
let inc2: string;
let atFull: string;
let atInc1: string;
let atInc2: string;
/** A full with changes to both tables that only the redo has. */
let dirty: string;
let atDirty: string;
let dirtyRows: number;
let flushedRows: number;
/** A base and two increments between which no checkpoint was made. */
let still: { readonly base: string; readonly inc1: string; readonly inc2: string };
/** The keyring before it was rotated, between the first two and `dirty`. */
let before: string;

const TABLES = ['app.plain', 'app.enc', 'app.my'] as const;

const restoredState = (target: string): Promise<string> =>
  lab.restored(target, (server) => server.checksums(...TABLES));

beforeAll(async () => {
  lab = await Lab.create();
  const { server } = lab;
  full = await lab.taken();
  atFull = await server.checksums(...TABLES);
  await lab.addRows('enc', 60);
  await lab.addRows('plain', 60);
  await server.query("INSERT INTO app.my VALUES (3, 'c')");
  await server.query("CREATE TABLE app.added (id INT PRIMARY KEY) ENCRYPTION='Y'");
  await server.query('CREATE TABLE app.dropped (id INT PRIMARY KEY)');
  await server.flush();
  inc1 = await lab.taken([`--incremental-basedir=${full}`]);
  atInc1 = await server.checksums(...TABLES);
  await server.query("UPDATE app.enc SET payload = CONCAT('B', payload) WHERE id % 7 = 0");
  await server.query('DELETE FROM app.plain WHERE id % 5 = 0');
  await server.query('DROP TABLE app.dropped');
  await server.flush();
  inc2 = await lab.taken([`--incremental-lsn=${metadataIn(inc1)?.to}`]);
  atInc2 = await server.checksums(...TABLES);

  await server.stayDirty();
  const stillBase = await lab.taken();
  await lab.addRows('plain', 20);
  const still1 = await lab.taken([`--incremental-basedir=${stillBase}`]);
  await lab.addRows('plain', 20);
  const still2 = await lab.taken([`--incremental-basedir=${still1}`]);
  still = { base: stillBase, inc1: still1, inc2: still2 };

  before = lab.keyringCopy();
  await server.query('ALTER INSTANCE ROTATE INNODB MASTER KEY');
  await server.flush();
  flushedRows = await server.count('app.enc');
  await server.stayDirty();
  await lab.addRows('enc', 700);
  await lab.addRows('plain', 700);
  dirty = await lab.taken();
  atDirty = await server.checksums(...TABLES);
  dirtyRows = await server.count('app.enc');
});

afterAll(async () => {
  await lab.close();
});

const succeeds = (ran: Ran): void => {
  expect(ran.code, ran.log).toBe(0);
  expect(ran.log.trimEnd().split('\n').at(-1)).toContain('completed OK!');
};

const NO_KEY = "InnoDB: Encryption can't find master key, please check the keyring plugin is loaded.";
const NOT_DECRYPTABLE = "InnoDB: Encryption information in datafile: ./app/enc.ibd can't be decrypted ,";

describe('a chain', () => {
  it('restores to each of its backups, and every table is as it was then (21–26, 50)', async () => {
    const states: string[] = [];
    for (const increments of [[], [inc1], [inc1, inc2]]) {
      const base = lab.copyOf(full);
      await lab.prepared(
        base,
        increments.map((increment) => lab.copyOf(increment)),
      );
      states.push(await restoredState(base));
    }
    expect(states).toEqual([atFull, atInc1, atInc2]);
  });

  it('names the state of its base after each step (21–24)', async () => {
    const base = lab.copyOf(full);
    const states: (string | undefined)[] = [];
    for (const step of [
      ['--apply-log-only'],
      ['--apply-log-only', `--incremental-dir=${lab.copyOf(inc1)}`],
      [`--incremental-dir=${lab.copyOf(inc2)}`],
    ]) {
      succeeds(await lab.prepare(base, step));
      const { type, to } = metadataIn(base) ?? {};
      states.push(`${type} ${to}`);
    }
    expect(states).toEqual([
      `log-applied ${metadataIn(full)?.to}`,
      `log-applied ${metadataIn(inc1)?.to}`,
      `full-prepared ${metadataIn(inc2)?.to}`,
    ]);
  });

  it('has only changed pages in its increments (40)', () => {
    expect(statSync(join(inc1, 'app/enc.ibd.delta')).size).toBeLessThan(statSync(join(full, 'app/enc.ibd')).size);
    expect(statSync(join(inc1, 'app/enc.ibd.delta')).size).toBeGreaterThan(16_384);
  });

  it('has the tables of the last increment, and no others', async () => {
    const base = lab.copyOf(full);
    await lab.prepared(base, [lab.copyOf(inc1)]);
    expect(filesIn(base)).toContain('app/dropped.ibd');
    expect(filesIn(base)).toContain('app/added.ibd');
    const further = lab.copyOf(full);
    await lab.prepared(further, [lab.copyOf(inc1), lab.copyOf(inc2)]);
    expect(filesIn(further)).not.toContain('app/dropped.ibd');
    expect(filesIn(further)).toContain('app/added.ibd');
  });

  it('can be finished by a prepare of its own (24)', async () => {
    const base = lab.copyOf(full);
    succeeds(await lab.prepare(base, ['--apply-log-only']));
    succeeds(await lab.prepare(base, ['--apply-log-only', `--incremental-dir=${lab.copyOf(inc1)}`]));
    const ran = await lab.prepare(base);
    succeeds(ran);
    expect(ran.log).toContain("xtrabackup: notice: xtrabackup_logfile was already used to '--prepare'.");
    expect(await restoredState(base)).toBe(atInc1);
  });

  it('reads no option file but the own one of the backup', async () => {
    const optionFile = lab.fresh('cnf');
    writeFileSync(optionFile, `[xtrabackup]\nkeyring-file-data=${lab.keyring}\nuse-memory=200M\n`);
    const base = lab.copyOf(full);
    const { runProgram } = await import('./run-program.ts');
    const ignored = await runProgram('xtrabackup', [
      `--defaults-file=${optionFile}`,
      '--prepare',
      '--apply-log-only',
      `--target-dir=${base}`,
    ]);
    expect(ignored.log).toContain('Using 104857600 bytes for buffer pool');
    expect(ignored.log).toContain(NO_KEY);
    const own = lab.copyOf(full);
    appendFileSync(join(own, 'backup-my.cnf'), `\n[xtrabackup]\nkeyring-file-data=${lab.keyring}\n`);
    const heeded = await lab.prepare(own, ['--apply-log-only'], 'none');
    succeeds(heeded);
    expect(heeded.log).not.toContain(NO_KEY);
  });
});

describe('redo', () => {
  it('49a: brings back what no page has yet', async () => {
    const base = lab.copyOf(dirty);
    await lab.prepared(base);
    expect(await restoredState(base)).toBe(atDirty);
  });

  it('is there from the checkpoint the backup began at to its last LSN', () => {
    const { to, last } = metadataIn(dirty) ?? { to: '0', last: '0' };
    expect(Number(last) - Number(to)).toBeGreaterThan(100_000);
  });
});

describe('silent at a prepare: exit 0 and "completed OK!", but', () => {
  it.each([
    ['42: no keyring', () => 'none' as const, NO_KEY],
    ['43: a keyring that is not there', () => join(lab.root, 'nope/keyring'), 'Could not find keyring file.'],
    [
      '43: an empty one',
      () => {
        const path = lab.fresh('keyring');
        writeFileSync(path, '');
        return path;
      },
      'Keyring file is empty.',
    ],
    [
      '43: garbage',
      () => {
        const path = lab.fresh('keyring');
        writeFileSync(path, 'this is no keyring at all, whatever it is');
        return path;
      },
      'keyring_file initialization failure.',
    ],
    ['94: a directory', () => join(lab.root, 'keyring'), 'keyring_file initialization failure.'],
    [
      '46: the same names with other keys',
      () => {
        const path = lab.fresh('keyring');
        spoilKeys(before, path);
        return path;
      },
      'InnoDB: Failed to decrpt encryption information, please check key file is not changed!',
    ],
  ])('%s: encrypted tables are passed over', async (_, keyring, line) => {
    const base = lab.copyOf(full);
    const ran = await lab.prepare(base, [], keyring());
    succeeds(ran);
    expect(ran.log).toContain(line);
    expect(ran.log).toContain(NOT_DECRYPTABLE);
    expect(metadataIn(base)?.type).toBe('full-prepared');
    // 42b, 44b: nothing of them was in the redo, so the right keyring heals it.
    succeeds(await lab.prepare(base));
    expect(await restoredState(base)).toBe(atFull);
  });

  it.each([
    ['44: only the new key, for a backup from before the rotation', () => full, (id: string) => id.endsWith('-2')],
    ['45: only the old key, for a backup from after it', () => dirty, (id: string) => id.endsWith('-1')],
  ])('%s: and the line on the master key is missing', async (_, backup, wanted) => {
    const keyring = lab.fresh('keyring');
    keepKeys(lab.keyring, keyring, wanted);
    expect(keyIds(keyring)).toHaveLength(1);
    const ran = await lab.prepare(lab.copyOf(backup()), [], keyring);
    succeeds(ran);
    expect(ran.log).toContain(NOT_DECRYPTABLE);
    expect(ran.log).not.toContain(NO_KEY);
  });

  it('44c: with both keys nothing is wrong', async () => {
    expect(keyIds(lab.keyring)).toHaveLength(2);
    const ran = await lab.prepare(lab.copyOf(full));
    succeeds(ran);
    expect(ran.log).not.toContain("can't be decrypted");
  });

  it.each([
    ['49b: without the keyring', 'none', NO_KEY],
    ['49c: with the one from before the rotation', 'before', NOT_DECRYPTABLE],
  ])('%s committed rows are lost, and 49b2: the right keyring does not bring them back', async (_, which, line) => {
    const base = lab.copyOf(dirty);
    const ran = await lab.prepare(base, [], which === 'none' ? 'none' : before);
    succeeds(ran);
    expect(ran.log).toContain(line);
    const rows = (target: string): Promise<readonly [number, number]> =>
      lab.restored(target, async (server) => [await server.count('app.enc'), await server.count('app.plain')]);
    const [enc, plain] = await rows(base);
    expect(enc).toBe(flushedRows);
    expect(enc).toBeLessThan(dirtyRows);
    succeeds(await lab.prepare(base));
    expect(await rows(base)).toEqual([flushedRows, plain]);
  });

  it('49d: so they are with --apply-log-only', async () => {
    const base = lab.copyOf(dirty);
    succeeds(await lab.prepare(base, ['--apply-log-only'], 'none'));
    succeeds(await lab.prepare(base));
    expect(await lab.restored(base, (server) => server.count('app.enc'))).toBe(flushedRows);
  });

  it('41b: of a backup taken without the keyring nothing is said', async () => {
    const target = await lab.taken([], { keyring: 'none' });
    const ran = await lab.prepare(target);
    succeeds(ran);
    expect(ran.log).not.toMatch(/app.enc/);
    expect(filesIn(target)).not.toContain('app/enc.ibd');
  });

  it('99d: an increment taken without the keyring deletes the good files of its base', async () => {
    await lab.server.flush();
    const base = await lab.taken();
    const increment = await lab.taken([`--incremental-basedir=${base}`], { keyring: 'none' });
    succeeds(await lab.prepare(base, ['--apply-log-only']));
    expect(filesIn(base)).toContain('app/enc.ibd');
    const ran = await lab.prepare(base, ['--apply-log-only', `--incremental-dir=${increment}`]);
    succeeds(ran);
    expect(ran.log).not.toContain('enc.ibd');
    expect(filesIn(base)).not.toContain('app/enc.ibd');
    expect(filesIn(base)).toContain('app/enc.frm');
  });

  it('5e: a page list that is missing deletes the file of its base', async () => {
    const base = lab.copyOf(full);
    const increment = lab.copyOf(inc1);
    rmSync(join(increment, 'app/plain.ibd.delta'));
    succeeds(await lab.prepare(base, ['--apply-log-only']));
    succeeds(await lab.prepare(base, ['--apply-log-only', `--incremental-dir=${increment}`]));
    expect(filesIn(base)).not.toContain('app/plain.ibd');
    expect(filesIn(base)).toContain('app/enc.ibd');
  });

  it('5b: a tablespace that is missing is only mentioned', async () => {
    const base = lab.copyOf(full);
    rmSync(join(base, 'app/plain.ibd'));
    const ran = await lab.prepare(base);
    succeeds(ran);
    expect(ran.log).toContain('InnoDB: Could not find a valid tablespace file for `app/plain`.');
    expect(ran.log).toContain("InnoDB: Cannot open datafile for read-only: './app/plain.ibd' OS error: 71");
  });

  it('5d: a tablespace that is cut short is not', async () => {
    const base = lab.copyOf(full);
    truncateSync(join(base, 'app/plain.ibd'), 4 * 16_384);
    const ran = await lab.prepare(base);
    succeeds(ran);
    expect(ran.log).not.toContain('plain.ibd');
  });

  it('5k: increments with equal LSNs are applied in the wrong order', async () => {
    expect(metadataIn(still.inc1)?.to).toBe(metadataIn(still.base)?.to);
    expect(metadataIn(still.inc2)?.from).toBe(metadataIn(still.inc1)?.from);
    const base = lab.copyOf(still.base);
    succeeds(await lab.prepare(base, ['--apply-log-only']));
    succeeds(await lab.prepare(base, ['--apply-log-only', `--incremental-dir=${lab.copyOf(still.inc2)}`]));
    const ran = await lab.prepare(base, ['--apply-log-only', `--incremental-dir=${lab.copyOf(still.inc1)}`]);
    succeeds(ran);
    expect(ran.log).toMatch(
      /InnoDB: Page \[page id: space=\d+, page number=\d+\] log sequence number \d+ is in the future! Current system log sequence number \d+\./,
    );
    expect(ran.log).toContain('InnoDB: Your database may be corrupt');
  });

  it('64: redo that is cut short loses the last changes', async () => {
    const base = lab.copyOf(dirty);
    const log = join(base, 'xtrabackup_logfile');
    // Inside a block: its header says that there is more.
    truncateSync(log, 2048 + Math.floor((statSync(log).size - 2048) / 1024) * 512 + 200);
    const ran = await lab.prepare(base);
    succeeds(ran);
    expect(ran.log).toMatch(
      /InnoDB: Log block \d+ at lsn \d+ has valid header, but checksum field contains \d+, should be \d+/,
    );
    expect(await lab.restored(base, (server) => server.count('app.plain'))).toBeLessThan(
      await lab.server.count('app.plain'),
    );
  });

  it('64b: so does a bit that flipped in it', async () => {
    const base = lab.copyOf(dirty);
    const log = join(base, 'xtrabackup_logfile');
    const content = readFileSync(log);
    const at = 2048 + Math.floor((content.length - 2048) / 1024) * 512 + 100;
    content[at] = (content[at] as number) ^ 1;
    writeFileSync(log, content);
    const ran = await lab.prepare(base);
    succeeds(ran);
    expect(ran.log).toMatch(/has valid header, but checksum field contains \d+, should be \d+/);
    expect(await lab.restored(base, (server) => server.count('app.plain'))).toBeLessThan(
      await lab.server.count('app.plain'),
    );
  });

  it('5a: and where the cut leaves the whole of the redo, nothing is lost', async () => {
    const base = lab.copyOf(full);
    const ran = await lab.prepare(base);
    succeeds(ran);
    expect(ran.log).not.toContain('checksum field');
  });
});

describe('a prepare that fails says so, and', () => {
  const fails = (ran: Ran, code: number, ...lines: readonly string[]): void => {
    expect(ran.code, ran.log).toBe(code);
    expect(ran.log).not.toContain('completed OK!');
    for (const line of lines) expect(ran.log).toContain(line);
  };
  const NOT_PROPER = [
    'xtrabackup: error: This incremental backup seems not to be proper for the target.',
    "xtrabackup:  Check 'to_lsn' of the target and 'from_lsn' of the incremental.",
  ];
  const NEEDS = 'xtrabackup: error: applying incremental backup needs target prepared with --apply-log-only.';

  it('51, 51b, 51c: an increment out of order leaves the base as it is', async () => {
    const base = lab.copyOf(full);
    succeeds(await lab.prepare(base, ['--apply-log-only']));
    fails(await lab.prepare(base, ['--apply-log-only', `--incremental-dir=${lab.copyOf(inc2)}`]), 1, ...NOT_PROPER);
    const first = lab.copyOf(inc1);
    succeeds(await lab.prepare(base, ['--apply-log-only', `--incremental-dir=${first}`]));
    fails(await lab.prepare(base, ['--apply-log-only', `--incremental-dir=${first}`]), 1, ...NOT_PROPER);
    succeeds(await lab.prepare(base, [`--incremental-dir=${lab.copyOf(inc2)}`]));
    expect(await restoredState(base)).toBe(atInc2);
  });

  it('52, 53, 54: an increment needs a base with the log applied, and no more', async () => {
    const base = lab.copyOf(full);
    const increment = `--incremental-dir=${lab.copyOf(inc1)}`;
    fails(
      await lab.prepare(base, ['--apply-log-only', increment]),
      1,
      'This target seems to be not prepared yet.',
      NEEDS,
    );
    succeeds(await lab.prepare(base));
    fails(
      await lab.prepare(base, ['--apply-log-only', increment]),
      1,
      'This target seems to be already prepared.',
      NEEDS,
    );
  });

  it('59b: an increment from the future', async () => {
    const increment = await lab.taken(['--incremental-lsn=99999999999']);
    const base = lab.copyOf(full);
    succeeds(await lab.prepare(base, ['--apply-log-only']));
    fails(await lab.prepare(base, ['--apply-log-only', `--incremental-dir=${increment}`]), 1, ...NOT_PROPER);
  });

  it('55, 56, 57: the wrong directories', async () => {
    fails(await lab.prepare(lab.copyOf(inc1)), 1, 'xtrabackup: This target seems not to have correct metadata...');
    const base = lab.copyOf(full);
    succeeds(await lab.prepare(base, ['--apply-log-only']));
    fails(
      await lab.prepare(base, [`--incremental-dir=${lab.root}/nope`]),
      1,
      `xtrabackup: Error: cannot open ${lab.root}/nope//xtrabackup_checkpoints`,
    );
    fails(await lab.prepare(join(lab.root, 'nope')), 1, `xtrabackup: cannot my_setwd ${lab.root}/nope/`);
  });

  it('58: a second prepare does no harm', async () => {
    const base = lab.copyOf(full);
    await lab.prepared(base);
    const ran = await lab.prepare(base);
    succeeds(ran);
    expect(ran.log).toContain('xtrabackup: This target seems to be already prepared.');
    expect(await restoredState(base)).toBe(atFull);
  });

  it('5a, 5h: no redo; no checkpoints', async () => {
    const base = lab.copyOf(full);
    rmSync(join(base, 'xtrabackup_logfile'));
    fails(
      await lab.prepare(base),
      1,
      'xtrabackup: Fatal error: cannot find ./xtrabackup_logfile.',
      'xtrabackup: Error: xtrabackup_init_temp_log() failed.',
    );
    rmSync(join(base, 'xtrabackup_checkpoints'));
    fails(await lab.prepare(base), 1, 'xtrabackup: Error: cannot open ./xtrabackup_checkpoints');
  });

  it('5c: no system tablespace', async () => {
    const base = lab.copyOf(full);
    rmSync(join(base, 'ibdata1'));
    fails(
      await lab.prepare(base),
      1,
      "The first innodb_system data file 'ibdata1' did not exist.",
      'xtrabackup: error: The log was not applied to the intended LSN!',
      'xtrabackup: Log applied to lsn 0',
      `xtrabackup: The intended lsn is ${metadataIn(full)?.to}`,
    );
  });

  it('5f: an increment without a .meta', async () => {
    const base = lab.copyOf(full);
    const increment = lab.copyOf(inc1);
    rmSync(join(increment, 'app/plain.ibd.meta'));
    succeeds(await lab.prepare(base, ['--apply-log-only']));
    fails(
      await lab.prepare(base, ['--apply-log-only', `--incremental-dir=${increment}`]),
      1,
      `xtrabackup: error: invalid value of page_size (18446744073709551615 bytes) read from ${increment}//app/plain.ibd.meta`,
      'xtrabackup: Error: xtrabackup_apply_delta(): failed to apply ',
    );
  });

  it('5g: an increment with a page list cut short crashes', async () => {
    const base = lab.copyOf(full);
    const increment = lab.copyOf(inc1);
    truncateSync(join(increment, 'app/plain.ibd.delta'), 20_000);
    succeeds(await lab.prepare(base, ['--apply-log-only']));
    fails(
      await lab.prepare(base, ['--apply-log-only', `--incremental-dir=${increment}`]),
      2,
      '[FATAL] InnoDB: Cannot read from file. OS error number 17.',
      'xtrabackup got signal 6 ;',
    );
  });

  it('5i, 5j: an increment applied without the keyring; with it the base is still good', async () => {
    const base = lab.copyOf(full);
    const increment = lab.copyOf(inc1);
    succeeds(await lab.prepare(base, ['--apply-log-only']));
    fails(
      await lab.prepare(base, ['--apply-log-only', `--incremental-dir=${increment}`], 'none'),
      1,
      NO_KEY,
      'InnoDB: Operating system error number 17 in a file operation.',
      'xtrabackup: error: cannot open ./app/enc.ibd',
      'xtrabackup: Error: xtrabackup_apply_delta(): failed to apply ',
    );
    const abandoned = lab.copyOf(base);
    succeeds(await lab.prepare(base, [`--incremental-dir=${increment}`]));
    expect(await restoredState(base)).toBe(atInc1);
    // 5i2: going on without the increment instead is noticed.
    fails(await lab.prepare(abandoned), 1, 'xtrabackup: error: The transaction log file is corrupted.');
  });
});

describe('a prepare that is killed', () => {
  it.each([
    /This target seems to be not prepared yet/,
    /Starting InnoDB instance/,
    /Apply batch completed/,
    /Shutdown completed/,
    /New log files created/,
  ])('90: at %s can be done again', async (line) => {
    const base = lab.copyOf(dirty);
    const killed = await lab.prepare(base, [], lab.keyring, {
      on: { line, act: (child) => void child.kill('SIGKILL') },
    });
    expect([0, 137]).toContain(killed.code);
    succeeds(await lab.prepare(base));
    expect(await restoredState(base)).toBe(atDirty);
  });

  it('91: so can one of an increment', async () => {
    const increment = lab.copyOf(inc1);
    let base: string;
    let killed: Ran;
    // On a busy machine the signal may come when it is over.
    do {
      base = lab.copyOf(full);
      succeeds(await lab.prepare(base, ['--apply-log-only']));
      killed = await lab.prepare(base, ['--apply-log-only', `--incremental-dir=${increment}`], lab.keyring, {
        on: { line: /Applying .*plain\.ibd\.delta/, act: (child) => void child.kill('SIGKILL') },
      });
    } while (killed.code === 0);
    expect(killed.code).toBe(137);
    succeeds(await lab.prepare(base, [`--incremental-dir=${increment}`]));
    expect(await restoredState(base)).toBe(atInc1);
  });

  it('leaves nothing else behind', () => {
    expect(existsSync(join(full, 'ib_logfile0'))).toBe(false);
    expect(readdirSync(full)).toContain('xtrabackup_logfile');
  });
});
