import { describe, expect, it } from 'vitest';
import { EngineLog } from '#agent/engines/engine-log.ts';
import { judge } from '#agent/engines/judge.ts';
import { readRecording, recordings } from './read-recording.ts';

// Recorded with mariadb-backup 10.11.19 and MariaDB 10.11.19 of Debian 12.
const PROGRAM = 'mariadb-backup-10.11.19';

const verdictOf = (name: string) => {
  const { operation, exit, log } = readRecording(PROGRAM, name);
  return judge(operation, exit, log);
};

const REFUSED: Readonly<Record<string, readonly string[]>> = {
  DataDirectoryMismatch: ['backup-datadir-mismatch'],
  DiskFull: ['backup-disk-full'],
  EngineFailed: ['backup-closed-pipe'],
  EngineUnsuited: ['backup-unknown-option'],
  PrivilegesMissing: ['backup-no-binlog-monitor', 'backup-no-privileges'],
  ServerAccessDenied: ['backup-wrong-password'],
  ServerRestarted: ['backup-server-kill', 'backup-server-killconn', 'backup-server-restart', 'backup-server-stop'],
  ServerUnreachable: ['backup-server-down'],
  PrepareFailed: [
    'prepare-increment-2-again',
    'prepare-increment-on-unprepared',
    'prepare-increment-skipped',
    'prepare-missing-ibdata1',
    'prepare-no-backup-my-cnf',
    'prepare-no-checkpoints',
    'prepare-no-redo',
    'prepare-redo-flipped',
    'prepare-redo-truncated',
    'prepare-target-missing',
    'prepare-truncated-delta',
    'prepare-truncated-ibd',
  ],
  // These say "completed OK!".
  PrepareIncomplete: ['prepare-missing-delta', 'prepare-missing-ibd', 'prepare-missing-ibd-without-redo'],
};

/** These lost data, say "completed OK!" and leave nothing in the log to judge by. */
const BLIND: Readonly<Record<string, readonly string[]>> = {
  'the checkpoints': ['backup-future-lsn'],
  'the inventory, before the step': ['prepare-flipped-ibd', 'prepare-missing-meta'],
  'the LSN the redo was read to, against last_lsn': ['prepare-redo-truncated-end'],
};

const GOOD = [
  'backup-ddl-meanwhile',
  'backup-full',
  'backup-increment',
  'backup-increment-2',
  'prepare-base',
  'prepare-increment',
  'prepare-increment-2',
];

const cases = (table: Readonly<Record<string, readonly string[]>>): readonly (readonly [string, string])[] =>
  Object.entries(table).flatMap(([key, names]) => names.map((name) => [name, key] as const));

describe('mariadb-backup', () => {
  it.each(cases(REFUSED))('%s is %s', (name, code) => {
    expect(verdictOf(name)).toMatchObject({ kind: 'refused', code });
  });

  it.each(cases(BLIND))('%s leaves no trace; what guards is %s', (name) => {
    expect(verdictOf(name)).toEqual({ kind: 'ok' });
  });

  it.each(GOOD)('%s is believed', (name) => {
    expect(verdictOf(name)).toEqual({ kind: 'ok' });
  });

  it('has every recording judged', () => {
    const judged = [...cases(REFUSED), ...cases(BLIND)].map(([name]) => name).concat(GOOD);
    expect(judged.sort()).toEqual(recordings(PROGRAM));
  });

  it('prints password hashes where a privilege is missing; no verdict and no kept line repeats them', () => {
    const { log } = readRecording(PROGRAM, 'backup-no-privileges');
    expect(log.lastLines(10).join('\n')).toMatch(
      /GRANT USAGE ON \*\.\* TO `np`@`localhost` IDENTIFIED BY PASSWORD '…'/,
    );
  });
});

const logOf = (...lines: readonly string[]): EngineLog => {
  const log = new EngineLog();
  for (const line of lines) log.append(line);
  return log;
};

const DONE = '261122 04:12:01 completed OK!';

describe('judging', () => {
  it('believes neither the exit code nor the closing line alone', () => {
    const zero = { code: 0, signal: undefined };
    expect(judge('backup', zero, logOf('Streaming ./a.ibd'))).toMatchObject({ code: 'EngineFailed' });
    expect(judge('prepare', zero, logOf(DONE, 'and then something else'))).toMatchObject({ code: 'PrepareFailed' });
    expect(judge('backup', { code: 1, signal: undefined }, logOf(DONE))).toMatchObject({ code: 'EngineFailed' });
    expect(judge('backup', zero, logOf(DONE, '', '  '))).toEqual({ kind: 'ok' });
  });

  it('names a killed engine by its signal', () => {
    expect(judge('backup', { code: undefined, signal: 'SIGKILL' }, logOf('Streaming ./a.ibd'))).toEqual({
      kind: 'refused',
      code: 'EngineFailed',
      detail: 'ended by SIGKILL, last lines:\nStreaming ./a.ibd',
    });
  });

  it('takes the shell’s "not found" for a missing engine', () => {
    expect(judge('backup', { code: 127, signal: undefined }, logOf('sh: 1: xtrabackup: not found'))).toMatchObject({
      code: 'EngineMissing',
    });
  });

  it('finds a line of loss in a flood of others, and the cause before its consequences', () => {
    const log = new EngineLog();
    for (let line = 0; line < 5000; line++) log.append(`Lost connection to MySQL server, try ${line}`);
    log.append('Error writing file (Errcode: 28 - No space left on device)');
    for (let line = 0; line < 5000; line++) log.append(`Page log sequence number ${line} is in the future!`);
    log.append(DONE);
    expect(judge('prepare', { code: 0, signal: undefined }, log)).toMatchObject({ code: 'PrepareIncomplete' });
    expect(judge('backup', { code: 1, signal: undefined }, log)).toMatchObject({ code: 'DiskFull' });
    expect(log.lines).toBe(10_002);
    expect(log.findings('backup').length + log.findings('prepare').length).toBeLessThan(40);
  });

  it('reads the messages of XtraBackup 8 through their prefix', () => {
    const prefix = '2022-03-22T19:15:36.142247+05:30 0 [ERROR] [MY-012226] [InnoDB]';
    const line = `${prefix} Encryption information in datafile: ./test/t.ibd can't be decrypted, please confirm that keyring is loaded.`;
    const done = `2022-03-22T19:15:37.000000+05:30 0 [Note] [MY-011825] [Xtrabackup] completed OK!`;
    expect(judge('prepare', { code: 0, signal: undefined }, logOf(line, done))).toMatchObject({
      code: 'PrepareIncomplete',
    });
    expect(judge('prepare', { code: 0, signal: undefined }, logOf(done))).toEqual({ kind: 'ok' });
  });

  it('keeps no option that is a secret', () => {
    const log = logOf('xtrabackup --password=hunter2 --encrypt-key=0123 --transition-key=abc --parallel=4');
    expect(log.lastLine).toBe('xtrabackup --password=… --encrypt-key=… --transition-key=… --parallel=4');
  });
});
