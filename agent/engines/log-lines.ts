import type { ErrorCode } from '#core/errors.ts';
import type { EngineOperation } from './engine.ts';

/** A line an engine prints that means something. */
interface KnownLine {
  readonly pattern: RegExp;
  readonly code: ErrorCode;
  /** Only in these operations; absent: in all. */
  readonly in?: EngineOperation | readonly EngineOperation[];
  /** Whether it means loss even where the engine exits 0 and says `completed OK!`. */
  readonly despiteSuccess?: true;
}

/**
 * Every line known to mean loss, or to name the cause of a failure; where several match, the first row here names the run. Numbers are
 * the recordings of XtraBackup 2.4.7 (test/fixtures/xtrabackup-2.4.7), "MDB" those of mariadb-backup 10.11.19; "src" is read in the sources
 * of XtraBackup 8.0 and 8.4. Patterns are searched anywhere in a line: prefixes differ by version, and two lines may be glued together.
 *
 * `Encryption information in datafile … can't be decrypted` without a word on the master key is not loss in a backup by itself: a table just created
 * looks the same (99a). Comparing the inventory with what the server knows decides it.
 */
const KNOWN_LINES: readonly KnownLine[] = [
  // Loss that still says "completed OK!".
  { pattern: /option 'datadir' has different values/, code: 'DataDirectoryMismatch', despiteSuccess: true }, // 73, MDB
  {
    // 41c, 62e, 62f, 99c, 43, 47, 94
    pattern: /keyring_file initialization failure|Could not find keyring file|Keyring file is empty/i,
    code: 'KeyringUnreadable',
    // A new master key may go into a keyring that does not exist yet.
    in: ['backup', 'prepare'],
    despiteSuccess: true,
  },
  {
    // 41, 42–49, 94, 99d
    pattern: /Encryption can't find master key|Failed to decr?y?pt encryption information/,
    code: 'EngineLostData',
    in: 'backup',
    despiteSuccess: true,
  },
  {
    // 42–49 and, without the line on the master key, 44, 45, 49c
    pattern:
      /Encryption can't find master key|Failed to decr?y?pt encryption information|can't be decrypted ?, ?please confirm/,
    code: 'PrepareIncomplete',
    in: 'prepare',
    despiteSuccess: true,
  },
  { pattern: /Space ID \d+ is missing encryption information/, code: 'EngineLostData', despiteSuccess: true }, // src
  {
    pattern: /CORRUPT LOG RECORD|Encryption information in the redo log of space \d+ is invalid/,
    code: 'KeyringRotated',
    in: 'backup',
    despiteSuccess: true,
  }, // 86
  { pattern: /CORRUPT LOG RECORD/, code: 'PrepareIncomplete', in: 'prepare', despiteSuccess: true }, // 86c
  { pattern: /is larger than than the last checkpoint LSN/, code: 'ChainBroken', in: 'backup', despiteSuccess: true }, // 59
  {
    // 5k
    pattern: /log sequence number \d+ is in the future|Your database may be corrupt/,
    code: 'PrepareIncomplete',
    in: 'prepare',
    despiteSuccess: true,
  },
  {
    // 64, 64b
    pattern: /has valid header, but checksum field contains/,
    code: 'PrepareIncomplete',
    in: 'prepare',
    despiteSuccess: true,
  },
  {
    // 5b; MDB prepare-missing-ibd, prepare-missing-delta
    pattern:
      /Could not find a valid tablespace file|Cannot open datafile for read-only|All redo log for this file will be ignored|was not found at '.*', but there were no modifications either|Failed to find tablespace for table/,
    code: 'PrepareIncomplete',
    in: 'prepare',
    despiteSuccess: true,
  },
  { pattern: /failed to apply .* to /, code: 'PrepareFailed', in: 'prepare', despiteSuccess: true }, // 5f, 5i; 8.4 ignores some (src)
  {
    pattern: /Database page corruption detected|Unable to apply log to corrupted page/i,
    code: 'PrepareIncomplete',
    in: 'prepare',
    despiteSuccess: true,
  }, // MDB
  { pattern: /Database page corruption detected/i, code: 'EngineLostData', in: 'backup', despiteSuccess: true }, // src

  // Causes of a failure the exit code tells of.
  { pattern: /while attempting to find history record for/i, code: 'ChainBroken', in: 'backup' }, // src, MDB
  {
    pattern: /No space left on device|Errcode: 28\b|errno: 28\b|Write to file \S+ ?failed at offset/,
    code: 'DiskFull',
  }, // 63, 63f, MDB
  { pattern: /Access denied for user/, code: 'ServerAccessDenied' }, // 71, MDB
  { pattern: /Can't connect to (local )?(MySQL |MariaDB )?server/i, code: 'ServerUnreachable' }, // 70, MDB
  { pattern: /you need \(at least one of\) the .* privilege|missing required privilege/, code: 'PrivilegesMissing' }, // 72, MDB
  { pattern: /server has gone away|Lost connection to/i, code: 'ServerRestarted', in: 'backup' }, // 83, 84, MDB
  {
    // 87; src for 8.0.30 and later
    pattern:
      /log block numbers mismatch|InnoDB log has wrapped around|did not find valid files\. Possibly the redo log files have been removed|could not find redo log file with LSN|is larger than last copied LSN|Was only able to copy log from/,
    code: 'RedoOverrun',
    in: 'backup',
  },
  {
    // src; 85 crashes instead
    pattern: /optimized \(without redo logging\) ?DDL|row versions due to INSTANT/i,
    code: 'DdlDuringBackup',
    in: 'backup',
  },
  { pattern: /Assertion failure in thread \d+ in file ut0ut\.cc/, code: 'DdlDuringBackup', in: 'backup' }, // 85
  {
    pattern: /Unable to obtain lock\. Please try again later|Lock wait timeout exceeded/i,
    code: 'DdlDuringBackup',
    in: 'backup',
  }, // 88b
  {
    // src
    pattern:
      /Unsupported server version|does not support MariaDB|Unsupported redo log format|created by Percona XtraBackup 2\.4 or earlier/,
    code: 'EngineUnsuited',
  },
  {
    pattern: /unknown (option|variable|argument)|Error while setting value|may be wrong format for/i,
    code: 'EngineUnsuited',
  }, // 59c, 73f, MDB
  { pattern: /pagetracking: Please install mysqlbackup component/, code: 'OptionUnsupported', in: 'backup' }, // src
  { pattern: /Invalid key length|unable to read encryption key file/, code: 'KeyInvalid' }, // 30, 62d
  { pattern: /failed to init keyring|Component configuration file is|Can't fetch the key/i, code: 'KeyringUnreadable' }, // src
  {
    // MDB; the wrong key 1 shows as redo that makes no sense
    pattern:
      /Obtaining redo log encryption key version|encryption key management plugin was not found|Reading log encryption info failed|Encryption key is not found for|Corrupted page identifier at \d+/,
    code: 'KeyringUnreadable',
  },
  {
    // src (reference B.5)
    pattern:
      /Error reading xtrabackup_keys|--transition-key specified, but xtrabackup_keys is not found|xtrabackup_keys is absent|can't generate new master key|can't read master_key_id/,
    code: 'KeyringUnreadable',
  },
  {
    // 37, 63j, reference E.2: 2.4.7 goes on and deletes the original
    pattern:
      /xb_crypt_read_chunk|invalid checksum at offset|wrong chunk magic|failed to read \d+ bytes for chunk|bytes are still not decrypted/,
    code: 'PrepareIncomplete',
    in: 'decrypt',
    despiteSuccess: true,
  },
  // 32, 33
  { pattern: /invalid plaintext hash/, code: 'KeyInvalid', in: 'decrypt', despiteSuccess: true },
  { pattern: /xbcrypt: not found/, code: 'EngineMissing', in: 'decrypt', despiteSuccess: true }, // 35
  {
    // 51, 52b, 53, 54b, 5a, 5c, MDB
    pattern:
      /seems not to be proper for the target|needs target prepared with|needs a prepared target|seems not to have correct metadata|failed to read metadata from|log was not applied to the intended LSN|cannot find \S*xtrabackup_logfile|Can't open backup-my\.cnf|Missing FILE_|File \S*ib_logfile0 was not found|InnoDB files do not exist/,
    code: 'PrepareFailed',
    in: 'prepare',
  },
];

export interface LogFinding {
  /** The place of its row: the smaller, the better it names the run. */
  readonly rank: number;
  readonly code: ErrorCode;
  readonly line: string;
  readonly despiteSuccess: boolean;
}

/** What `line` means in this operation, by the first row that matches. */
export const screenLine = (operation: EngineOperation, line: string): LogFinding | undefined => {
  const rank = KNOWN_LINES.findIndex(
    (known) => [known.in ?? operation].flat().includes(operation) && known.pattern.test(line),
  );
  const known = KNOWN_LINES[rank];
  return known && { rank, code: known.code, line, despiteSuccess: known.despiteSuccess ?? false };
};

/**
 * `line` without the password hashes MariaDB prints when a privilege is missing (`SHOW GRANTS`), and without secrets given as options:
 * lines are stored and shown.
 */
export const withoutSecrets = (line: string): string =>
  line
    .replace(/(IDENTIFIED (?:BY PASSWORD|VIA \w+ (?:USING|AS))) '[^']*'/g, "$1 '…'")
    .replace(/((?:password|encrypt[-_]key|transition[-_]key)=)[^\s']+/g, '$1…')
    // MariaDB names what its plugin was told; a path is no secret, anything else is the key itself.
    .replace(/(file[-_]key[-_]management[-_]filekey=)(?!FILE:)[^\s']+/g, '$1…');
