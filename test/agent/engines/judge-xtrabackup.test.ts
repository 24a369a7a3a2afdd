import { describe, expect, it } from 'vitest';
import { judge } from '#agent/engines/judge.ts';
import { readRecording, recordings } from './read-recording.ts';

// Every backup and every prepare that was recorded with XtraBackup 2.4.7 and MySQL 5.7.13 is judged here. The number of a recording is the
// one of the row in the list of silent successes.
const PROGRAM = 'xtrabackup-2.4.7';

const verdictOf = (name: string) => {
  const { operation, exit, log } = readRecording(PROGRAM, name);
  return judge(operation, exit, log);
};

/** Exit code 0, and data lost: the log gives them away. */
const SILENT: Readonly<Record<string, readonly string[]>> = {
  ChainBroken: ['59-incremental-lsn-future-backup', '59f-incremental-lsn-negative'],
  DataDirectoryMismatch: ['73-datadir-mismatch'],
  EngineLostData: ['41-backup-without-keyring-option', '73c-unknown-option', '99d-inc-without-keyring'],
  KeyringRotated: ['86-rotate-master-key-mid-backup'],
  KeyringUnreadable: [
    '41c-backup-keyring-path-missing',
    '43-prepare-keyring-empty-file',
    '43-prepare-keyring-garbage',
    '43-prepare-keyring-path-missing',
    '47-prepare-keyring-readonly-as-mysql',
    '47-prepare-keyring-unreadable-as-mysql',
    '62e-backup-keyring-unreadable-as-mysql',
    '62f-backup-keyring-readonly-as-mysql',
    '94-keyring-is-directory',
    '99c-backup-stale-keyring',
  ],
  PrepareIncomplete: [
    '42-prepare-without-keyring-option',
    '42c-prepare-apply-log-only-without-keyring',
    '44-prepare-keyring-rotated-old-removed',
    '45-prepare-stale-keyring-from-before-rotation',
    '46-prepare-keyring-same-id-wrong-bytes',
    '49b-dirty-prepare-without-keyring',
    '49c-dirty-prepare-wrong-keyring',
    '49d-dirty-prepare-apply-log-only-without-keyring',
    '5b-prepare-missing-ibd',
    '5k-equal-lsn-final',
    '5k-equal-lsn-inc1-after-inc2',
    '64-dirty-prepare-logfile-truncated-half',
    '64b-dirty-prepare-logfile-flipped-bit',
  ],
};

/** Exit code 0, no trace in the log, or one that a good run leaves as well. Each needs another guard, named here. */
const BLIND: Readonly<Record<string, readonly string[]>> = {
  'the inventory, compared with what the server knows': ['46-backup-keyring-same-id-wrong-bytes'],
  'the inventory, compared with the directory before and after a step': [
    '41b-prepare-backup-taken-without-keyring',
    '99c2-prepare-of-stale-with-right-keyring',
    '99d2-apply-inc-taken-without-keyring',
    '5e-inc-missing-delta',
    '5d-prepare-ibd-truncated',
    '35-prepare-with-xbcrypt-left',
  ],
  'the order of seq, and a fresh directory for each backup': [
    '5k-equal-lsn-inc2-first',
    '52-prepare-without-apply-log-only',
    '54-inc1-without-apply-log-only',
    '60b-backup-target-with-unrelated-file',
    '89-two-backups-same-target',
  ],
  'a refused step is never continued, only begun again': [
    '49b2-dirty-prepare-right-keyring-afterwards',
    '49d2-dirty-final-with-keyring',
  ],
  'from_lsn in the checkpoints': ['59d-incremental-lsn-empty', '59e-incremental-lsn-zero'],
  'the length of the key': ['73e-aes256-16-byte-key', '97-backup-aes256-16-byte-key', '97c-backup-24-byte-key'],
  'the identity of the server': ['73g-wrong-socket-other-server'],
};

/** Good runs. */
const GOOD: readonly string[] = [
  '10-backup-plain-versioncheck',
  '11-full-encrypted',
  '13-inc1-encrypted',
  '15-inc2-encrypted',
  '16-stream-full-encrypted',
  '17-stream-full-plain',
  '18-stream-inc-encrypted',
  '21-prepare-base',
  '22-prepare-inc1',
  '23-prepare-inc2',
  '24-prepare-final',
  '40-chain-full',
  '40-chain-inc1',
  '40-chain-inc2',
  '42b-prepare-with-keyring-after-failed-without',
  '42d-prepare-again-with-keyring',
  '44b-prepare-with-right-keyring-afterwards',
  '44c-prepare-keyring-rotated-both-keys',
  '45-prepare-after-rotation-only-new-key',
  '49a-dirty-prepare-right-keyring',
  '50-good-base',
  '50-good-final',
  '50-good-i1',
  '50-good-i2',
  '51b-then-inc1',
  '58-prepare-twice',
  '5a-prepare-logfile-truncated',
  '5j-inc-retry-with-keyring-after-failed-without',
  '5j2-final',
  '5k-equal-lsn-base',
  '63m-prepare-retry-after-disk-full',
  '85b-create-table-mid-backup',
  '85b2-prepare',
  '85c-drop-table-mid-backup',
  '85c2-prepare',
  '85d-truncate-table-mid-backup',
  '85d2-prepare',
  '86b-prepare-rotated-mid-backup-current-keyring',
  '86d-alter-encryption-mid-backup',
  '86d2-prepare',
  '88-long-query-no-wait',
  '88c-long-query-kill',
  '90b-prepare-again-after-kill-0.05s',
  '90b-prepare-again-after-kill-0.3s',
  '90b-prepare-again-after-kill-0.6s',
  '90b-prepare-again-after-kill-1.0s',
  '90b-prepare-again-after-kill-1.5s',
  '90b-prepare-again-after-kill-2.0s',
  '91b-inc-apply-again-after-kill-0.05s',
  '91b-inc-apply-again-after-kill-0.1s',
  '91b-inc-apply-again-after-kill-0.3s',
  '91b-inc-apply-again-after-kill-0.8s',
  '99a-backup-fresh-encrypted-table-unflushed',
  '99a2-prepare',
  '99b-backup-fresh-encrypted-table-flushed',
  '99d-full',
];

/** The exit code tells; the log names the cause. */
const FAILED: Readonly<Record<string, readonly string[]>> = {
  DdlDuringBackup: ['85-ddl-add-index-mid-backup', '88b-long-query-ftwrl-wait-timeout'],
  DiskFull: ['63-backup-disk-full', '63b-backup-encrypted-disk-full', '63c-stream-disk-full', '63f-prepare-disk-full'],
  EngineFailed: [
    '59h-incremental-basedir-missing',
    '60-backup-target-not-empty-same-backup',
    '60c-backup-parent-missing',
    '60d-backup-encrypted-target-not-empty',
    '62-backup-unwritable-target-as-mysql',
    '62b-backup-unwritable-existing-target-as-mysql',
    '62c-backup-datadir-unreadable-as-nobody',
    '63h-backup-readonly-fs',
    '63i-stream-closed-pipe',
    '73b-defaults-file-missing',
    '80-signal-HUP-mid-backup',
    '80-signal-INT-mid-backup',
    '80-signal-KILL-mid-backup',
    '80-signal-TERM-mid-backup',
    '80b-signal-TERM-stream-encrypted',
    '81b-retry-into-killed-target',
    '82-sigkill-while-holding-global-read-lock',
  ],
  EngineUnsuited: ['59c-incremental-lsn-garbage', '59g-incremental-lsn-trailing', '73f-bad-encrypt-algo'],
  KeyInvalid: [
    '30-backup-key-31chars',
    '30-backup-key33-newline',
    '30-backup-key33-stream',
    '30-backup-keyfile-missing',
    '62d-backup-encrypt-key-unreadable-as-mysql',
  ],
  KeyringUnreadable: ['86c-prepare-rotated-mid-backup-keyring-from-before'],
  PrepareFailed: [
    '36-prepare-still-encrypted',
    '51-inc2-skipping-inc1',
    '51c-inc1-twice',
    '52b-then-incremental',
    '53-incremental-on-unprepared-base',
    '54b-then-inc2',
    '55-prepare-target-is-incremental',
    '56-incremental-dir-missing',
    '57-prepare-target-missing',
    '57b-prepare-target-empty',
    '59b-prepare-with-future-inc',
    '5a-prepare-no-logfile',
    '5c-prepare-missing-ibdata1',
    '5f-inc-missing-meta',
    '5g-inc-truncated-delta',
    '5h-prepare-no-checkpoints',
    '5i-inc-without-keyring',
    '5i2-final-with-keyring',
    '81-prepare-killed-backup',
    '90-prepare-sigkill-after-0.05s',
    '90-prepare-sigkill-after-0.3s',
    '90-prepare-sigkill-after-0.6s',
    '90-prepare-sigkill-after-1.0s',
    '90-prepare-sigkill-after-1.5s',
    '90-prepare-sigkill-after-2.0s',
    '91-inc-apply-sigkill-after-0.05s',
    '91-inc-apply-sigkill-after-0.1s',
    '91-inc-apply-sigkill-after-0.3s',
    '91-inc-apply-sigkill-after-0.8s',
  ],
  PrivilegesMissing: [
    '72-privileges-noprocess',
    '72-privileges-noreload',
    '72-privileges-norepl',
    '72-privileges-nothing',
  ],
  RedoOverrun: ['87-redo-log-wrapped-mid-backup'],
  ServerAccessDenied: ['71-bad-password', '71b-no-password'],
  ServerRestarted: ['83-mysqld-shutdown-mid-backup', '83b-mysqld-sigkill-mid-backup', '84-kill-connection-mid-backup'],
  ServerUnreachable: ['70-mysqld-down-socket', '70b-mysqld-down-tcp'],
};

const cases = (table: Readonly<Record<string, readonly string[]>>): readonly (readonly [string, string])[] =>
  Object.entries(table).flatMap(([key, names]) => names.map((name) => [name, key] as const));

describe('an engine that says "completed OK!" over lost data', () => {
  it.each(cases(SILENT))('is refused: %s is %s', (name, code) => {
    expect(readRecording(PROGRAM, name).exit).toEqual({ code: 0, signal: undefined });
    expect(verdictOf(name)).toMatchObject({ kind: 'refused', code });
  });

  it('is refused with the line that shows it', () => {
    expect(verdictOf('59-incremental-lsn-future-backup')).toMatchObject({
      detail: expect.stringContaining('larger than than the last checkpoint LSN'),
    });
  });

  it.each(cases(BLIND))('leaves no trace that a good run does not: %s; what guards is %s', (name) => {
    expect(verdictOf(name)).toEqual({ kind: 'ok' });
  });
});

describe('an engine that did well', () => {
  it.each(GOOD)('is believed: %s', (name) => {
    expect(verdictOf(name)).toEqual({ kind: 'ok' });
  });
});

describe('an engine that failed', () => {
  it.each(cases(FAILED))('is named: %s is %s', (name, code) => {
    expect(readRecording(PROGRAM, name).exit.code).not.toBe(0);
    expect(verdictOf(name)).toMatchObject({ kind: 'refused', code });
  });
});

it('judges every recording', () => {
  const judged = [...cases(SILENT), ...cases(BLIND), ...cases(FAILED)].map(([name]) => name).concat(GOOD);
  expect(judged.sort()).toEqual(recordings(PROGRAM));
});
