import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { POSITION_PAGE, readPosition } from '../../../page-store/binlog-position.ts';
import { SYSTEM_FILE } from '../../../page-store/data-files.ts';
import { isEncrypted, readDictionary } from '../../../page-store/dictionary.ts';
import type { MasterKeys } from '../../../page-store/encryption-info.ts';
import { flushLsn, PAGE_SIZE, pageLsn, setFlushLsn } from '../../../page-store/page.ts';
import { futureLine } from '../../../page-store/page-store.ts';
import { recover } from '../../../page-store/recover.ts';
import { freshLsn } from '../../../page-store/redo-block.ts';
import { logFileName, RedoLog } from '../../../page-store/redo-log.ts';
import { type Scan, scanRedo } from '../../../page-store/scan-redo.ts';
import { Tablespaces } from '../../../page-store/tablespaces.ts';
import { bytesOf, readOptionFile } from '../option-file.ts';
import { toolVersion } from '../tool-version.ts';
import { errcode, writeZeroes } from '../write-all.ts';
import { applyDeltas } from './apply-deltas.ts';
import { BackupLog } from './backup-log.ts';
import { CHECKPOINTS, encodeMetadata, type Metadata, readMetadata } from './checkpoints.ts';
import { crash, Exit, tell } from './console.ts';
import { copyFile } from './copy-files.ts';
import { directoryOption, type Options } from './options.ts';
import { prepareKeys } from './prepare-keys.ts';
import { tellCorruptRecord, tellNotDecryptable } from './tablespace-messages.ts';
import { tellVersion } from './tell-version.ts';

const version = toolVersion();
/** A checkpoint leaves a record of this size. */
const CHECKPOINT_BYTES = 9;
const TEMPORARY_BYTES = 12 * 1024 * 1024;
const OTHER_FILES = /\.(frm|isl|MYD|MYI|MAD|MAI|MRG|TRG|TRN|ARM|ARZ|CSM|CSV|opt|par|sdi)$/;
const OWN_FILES = [
  'xtrabackup_binlog_info',
  'xtrabackup_galera_info',
  'xtrabackup_slave_info',
  'xtrabackup_info',
  'xtrabackup_keys',
];

const changeDirectory = (target: string): void => {
  try {
    process.chdir(target);
  } catch (error) {
    tell.tool(`Can't change dir to '${target}' ${errcode(error)}`);
    tell.tool(`cannot my_setwd ${target}`);
    throw new Exit(1);
  }
  tell.tool(`cd to ${target}`);
};

const readBase = (): Metadata => {
  const metadata = readMetadata(`./${CHECKPOINTS}`);
  if (!metadata) {
    tell.tool(`Error: cannot open ./${CHECKPOINTS}`);
    tell.tool(`Error: failed to read metadata from './${CHECKPOINTS}'`);
    throw new Exit(1);
  }
  const words: Readonly<Record<string, string>> = {
    'full-backuped': 'This target seems to be not prepared yet.',
    'log-applied': 'This target seems to be already prepared with --apply-log-only.',
    'full-prepared': 'This target seems to be already prepared.',
  };
  const said = words[metadata.type];
  if (said === undefined) {
    tell.tool('This target seems not to have correct metadata...');
    throw new Exit(1);
  }
  tell.tool(said);
  return metadata;
};

const checkIncrement = (base: Metadata, increment: Metadata): void => {
  if (base.type !== 'log-applied') {
    tell.tool('error: applying incremental backup needs target prepared with --apply-log-only.');
    throw new Exit(1);
  }
  if (increment.fromLsn !== base.toLsn) {
    tell.tool('error: This incremental backup seems not to be proper for the target.');
    tell.tool(" Check 'to_lsn' of the target and 'from_lsn' of the incremental.");
    throw new Exit(1);
  }
};

interface LogSettings {
  readonly files: number;
  readonly fileBytes: number;
  readonly uuid: string | undefined;
}

/** What the backup's own option file says of the server's redo log. */
const logSettings = (): LogSettings => {
  const options = new Map(
    existsSync('backup-my.cnf')
      ? readOptionFile('backup-my.cnf', ['mysqld']).map(({ name, value }) => [name, value ?? ''])
      : [],
  );
  return {
    files: Number(options.get('innodb-log-files-in-group') ?? 2),
    fileBytes: bytesOf(options.get('innodb-log-file-size') ?? '48M'),
    uuid: options.get('server-uuid'),
  };
};

const tellConfiguration = (directory: string, files: number, bytes: number): void => {
  tell.tool('using the following InnoDB configuration for recovery:');
  tell.tool('  innodb_data_home_dir = .');
  tell.tool('  innodb_data_file_path = ibdata1:12M:autoextend');
  tell.tool(`  innodb_log_group_home_dir = ${directory}`);
  tell.tool(`  innodb_log_files_in_group = ${files}`);
  tell.tool(`  innodb_log_file_size = ${bytes}`);
};

const tellStart = (): void => {
  for (const line of [
    'PUNCH HOLE support available',
    'Mutexes and rw_locks use GCC atomic builtins',
    'Uses event mutexes',
    'GCC builtin __atomic_thread_fence() is used for memory barrier',
    'Compressed tables use zlib 1.2.13',
    'Number of pools: 1',
    'Using CPU crc32 instructions',
    'Initializing buffer pool, total size = 100M, instances = 1, chunk size = 100M',
    'Completed initialization of buffer pool',
    'page_cleaner coordinator priority: -20',
  ])
    tell.innodb(line);
};

const tellFuture = (space: number, page: number, lsn: number, current: number): void => {
  tell.innodb(futureLine(space, page, lsn, current).slice('InnoDB: '.length));
  tell.innodb(
    'Your database may be corrupt or you may have copied the InnoDB tablespace but not the InnoDB log files. Please refer to http://dev.mysql.com/doc/refman/5.7/en/forcing-innodb-recovery.html for information about forcing recovery.',
  );
};

/** Size of the logs in words, as InnoDB prints it. */
const megabytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MB`;

const CHUNK = 1024 * 1024;

const failedToWrite = (name: string, end: number, size: number): never => {
  const at = end - (end % CHUNK);
  const bytes = Math.min(CHUNK, size - at);
  tell.innodb(
    `${bytes} bytes should have been written. Only ${end - at} bytes written. Retrying for the remaining bytes.`,
  );
  tell.innodb('Retry attempts for writing partial data failed.');
  tell.innodb(
    `Write to file ./${name}failed at offset ${at}, ${bytes} bytes should have been written, only ${end - at} were written. Operating system error number 28. Check that your OS and file system support files of this size. Check also that the disk is not full or a disk quota exceeded.`,
  );
  tell.innodb("Error number 28 means 'No space left on device'");
  tell.innodb(`Cannot set log file ./${name} to size ${megabytes(size)}`);
  tell.innodb('Plugin initialization aborted with error Generic error');
  return crash(11);
};

/** New log files, written in full: a disk that is full shows here, and crashes it. */
const createLogs = (settings: LogSettings, lsn: number): RedoLog => {
  const names = [
    `${logFileName(0).slice(0, -1)}101`,
    ...Array.from({ length: settings.files - 1 }, (_, index) => logFileName(index + 1)),
  ];
  for (const name of names) {
    tell.innodb(`Setting log file ./${name} size to ${megabytes(settings.fileBytes)}`);
    const file = openSync(name, 'w', 0o640);
    const end = writeZeroes(file, 0, settings.fileBytes);
    if (end < settings.fileBytes) failedToWrite(name, end, settings.fileBytes);
    closeSync(file);
  }
  // Under its name only once it is whole: a run that is killed before begins anew.
  RedoLog.format(names, freshLsn(lsn));
  tell.innodb(`Renaming log file ./${names[0]} to ./${logFileName(0)}`);
  renameSync(names[0] as string, logFileName(0));
  tell.innodb(`New log files created, LSN=${lsn}`);
  return RedoLog.open('.') as RedoLog;
};

const setFlushedLsn = (tablespaces: Tablespaces, lsn: number): void => {
  const system = tablespaces.get(0);
  if (!system) return;
  const first = system.read(0);
  setFlushLsn(first, lsn);
  system.write(0, first);
};

const createTemporary = (): void => {
  tell.innodb('Creating shared tablespace for temporary tables');
  tell.innodb("Setting file './ibtmp1' size to 12 MB. Physically writing the file full; Please wait ...");
  const file = openSync('ibtmp1', 'w', 0o640);
  const end = writeZeroes(file, 0, TEMPORARY_BYTES);
  closeSync(file);
  if (end < TEMPORARY_BYTES) failedToWrite('ibtmp1', end, TEMPORARY_BYTES);
  tell.innodb("File './ibtmp1' size is now 12 MB.");
};

interface Instance {
  readonly scan: Scan;
  /** The checkpoint recovery began at. */
  readonly checkpointLsn: number;
  readonly masters: MasterKeys;
  readonly applyLogOnly: boolean;
  /** Whether the redo is that of the directory's own log files, not of a backup. */
  readonly ownLog: boolean;
  /** Whether those were left by a shutdown. */
  readonly clean: boolean;
}

/** One start of InnoDB on the files here, and its shutdown. Returns how far the redo was applied. */
const runInnodb = (instance: Instance): number => {
  const { scan, checkpointLsn } = instance;
  tell.innodb('Highest supported file format is Barracuda.');
  const tablespaces = new Tablespaces('.', instance.masters, tellNotDecryptable);
  tablespaces.openAll();
  const system = tablespaces.get(0);
  const flushed = system ? flushLsn(system.read(0)) : 0;
  if (!instance.clean) {
    tell.innodb(`Log scan progressed past the checkpoint lsn ${checkpointLsn}`);
    if (scan.damaged)
      tell.innodb(
        `Log block ${scan.damaged.number} at lsn ${scan.damaged.lsn} has valid header, but checksum field contains ${scan.damaged.found}, should be ${scan.damaged.expected}`,
      );
    tell.innodb(`Doing recovery: scanned up to log sequence number ${scan.scannedTo} (0%)`);
    tell.innodb(`Doing recovery: scanned up to log sequence number ${scan.scannedTo} (0%)`);
  }
  if (!instance.clean && checkpointLsn < flushed)
    tell.innodb(
      ` Are you sure you are using the right ib_logfiles to start up the database? Log sequence number in the ib_logfiles is ${checkpointLsn}, less than the log sequence number in the first system tablespace file header, ${flushed}.`,
    );
  if (!instance.clean) {
    tell.innodb('Database was not shutdown normally!');
    tell.innodb('Starting crash recovery.');
  }
  const incomplete = scan.completeTo < scan.scannedTo && scan.groups.length > 0;
  if (incomplete) {
    tell.innodb('1 transaction(s) which must be rolled back or cleaned up in total 1 row operations to undo');
    tell.innodb('Trx id counter is 1792');
  }
  const recovered = recover(tablespaces, scan, {
    nothingToDelete: (space) =>
      tell.innodb(`Cannot delete tablespace ${space} because it is not found in the tablespace memory cache.`),
    corruptRecord: tellCorruptRecord,
    futurePage: (space, page, lsn) => tellFuture(space, page, lsn, scan.scannedTo),
    closedFile: (path) => {
      tablespaces.open(path);
      // Since 8.0.34-29 (PXB-3079) it does not go on without the key.
      if (version.atLeast('8.0.34')) {
        tell.innodb(`Cannot apply redo to ${path}: its key is missing.`);
        throw new Exit(1);
      }
    },
  });
  if (recovered.kind === 'corrupt') {
    tell.innodb('Plugin initialization aborted with error Generic error');
    crash(11);
  }
  if (recovered.kind === 'applied' && recovered.pages > 0) {
    tell.innodb('Starting an apply batch of log records to the database...');
    tell.innodb(`Progress in percent: ${Array.from({ length: 100 }, (_, percent) => percent).join(' ')} `);
    tell.innodb('Apply batch completed');
  }
  tellFuturePages(tablespaces, scan.scannedTo);
  const position = system && readPosition(system.read(POSITION_PAGE));
  if (position) {
    tell.innodb(`xtrabackup: Last MySQL binlog file position ${position.position}, file name ${position.file}`);
    writeFileSync('xtrabackup_binlog_pos_innodb', `${position.file}\t${position.position}\n`, { mode: 0o640 });
  }
  if (!instance.applyLogOnly) {
    if (incomplete) {
      tell.innodb('Starting in background the rollback of uncommitted transactions');
      tell.innodb('Rolling back trx with id 1387, 1 rows to undo');
      tell.innodb('Rollback of trx with id 1387 completed');
      tell.innodb('Rollback of non-prepared transactions completed');
    }
    createTemporary();
    tell.innodb(`5.7.13 started; log sequence number ${scan.completeTo}`);
    tellMissingFiles(tablespaces);
    if (position)
      tell.innodb(`xtrabackup: Last MySQL binlog file position ${position.position}, file name ${position.file}`);
  }
  tell.raw('');
  tell.tool('starting shutdown with innodb_fast_shutdown = 1');
  const end = scan.completeTo + (instance.ownLog ? 0 : CHECKPOINT_BYTES);
  setFlushedLsn(tablespaces, instance.ownLog ? checkpointLsn : end);
  tablespaces.close();
  if (!instance.applyLogOnly) tell.innodb('FTS optimize thread exiting.');
  tell.innodb('Starting shutdown...');
  tell.innodb(`Shutdown completed; log sequence number ${end}`);
  return scan.completeTo;
};

/** InnoDB looks at its own pages when it starts; those of tables only where redo leads it there. */
const tellFuturePages = (tablespaces: Tablespaces, current: number): void => {
  const system = tablespaces.get(0);
  for (let number = 0; system && number < 64; number++) {
    const lsn = pageLsn(system.read(number));
    if (lsn > current) tellFuture(0, number, lsn, current);
  }
};

/** What the dictionary names and the directory lacks. Of encrypted tables nothing is said (recorded: 41b, 99c2). */
const tellMissingFiles = (tablespaces: Tablespaces): void => {
  const system = tablespaces.get(0);
  for (const entry of system ? readDictionary(system) : []) {
    const { name, space } = entry;
    if (isEncrypted(entry) || tablespaces.get(space) || existsSync(`${name}.ibd`)) continue;
    const [database, table] = name.split('/');
    tell.innodb(
      `Failed to find tablespace for table \`${database}\`.\`${table}\` in the cache. Attempting to load the tablespace with space id ${space}`,
    );
    tell.innodb('Operating system error number 2 in a file operation.');
    tell.innodb('The error means the system cannot find the path specified.');
    tell.innodb(`Cannot open datafile for read-only: './${name}.ibd' OS error: 71`);
    tell.innodb(
      `Could not find a valid tablespace file for \`${name}\`. Please refer to http://dev.mysql.com/doc/refman/5.7/en/innodb-troubleshooting-datadict.html for how to resolve the issue.`,
    );
  }
};

/** Runs `--prepare`. Throws `Exit`. */
export const prepare = (options: Options): void => {
  const target = directoryOption(options, 'target-dir') ?? `${process.cwd()}/xtrabackup_backupfiles/`;
  const incrementDirectory = directoryOption(options, 'incremental-dir');
  tellVersion();
  let increment: Metadata | undefined;
  if (incrementDirectory !== undefined) {
    const path = `${incrementDirectory}/${CHECKPOINTS}`;
    increment = readMetadata(path);
    if (!increment) {
      tell.tool(`Error: cannot open ${path}`);
      tell.tool(`error: failed to read metadata from ${path}`);
      throw new Exit(1);
    }
    tell.bare(`incremental backup from ${increment.fromLsn} is enabled.`);
  }
  changeDirectory(target);
  const base = readBase();
  if (version.modern) checkInfo(incrementDirectory ?? '.');
  if (increment) checkIncrement(base, increment);
  tell.innodb('Number of pools: 1');
  if (version.modern && options.unknown.length > 0 && !/^(0|off|false)$/i.test(options.get('strict') ?? 'on')) {
    tell.bare(`Error: unknown argument: '${options.unknown[0]}'`);
    throw new Exit(1);
  }
  const applyLogOnly = options.has('apply-log-only');
  const settings = logSettings();
  const log = BackupLog.open(incrementDirectory ?? '.');
  const home = incrementDirectory ?? '.';
  const configuration = (): void =>
    log === 'used' ? tellConfiguration('.', settings.files, settings.fileBytes) : tellConfiguration(home, 1, log.bytes);
  configuration();
  const masters = prepareKeys(options, incrementDirectory ?? '.');
  if (incrementDirectory !== undefined) applyDeltas(incrementDirectory, masters);
  configuration();
  tell.tool('Starting InnoDB instance for recovery.');
  const memory = options.get('use-memory');
  tell.tool(
    `Using ${memory === undefined ? 104_857_600 : bytesOf(memory)} bytes for buffer pool (set by --use-memory parameter)`,
  );
  tellStart();

  const intended = increment?.toLsn ?? base.toLsn;
  let applied: number;
  if (!existsSync(SYSTEM_FILE)) applied = startWithoutSystem();
  else if (log === 'used') applied = startOnOwnLogs(settings, masters, applyLogOnly);
  else {
    applied = runInnodb({
      scan: scanRedo(log, log.checkpointLsn),
      checkpointLsn: log.checkpointLsn,
      masters,
      applyLogOnly,
      ownLog: false,
      clean: false,
    });
    log.finish();
  }
  if (BigInt(applied) < intended) {
    tell.tool('error: The transaction log file is corrupted.');
    tell.tool('error: The log was not applied to the intended LSN!');
    tell.tool(`Log applied to lsn ${applied}`);
    tell.tool(`The intended lsn is ${intended}`);
    throw new Exit(1);
  }
  tell.innodb('Number of pools: 1');
  writeFileSync(
    CHECKPOINTS,
    encodeMetadata({
      type: applyLogOnly ? 'log-applied' : 'full-prepared',
      fromLsn: base.fromLsn,
      toLsn: increment && increment.toLsn > base.toLsn ? increment.toLsn : base.toLsn,
      lastLsn: increment && increment.toLsn > base.toLsn ? increment.lastLsn : base.lastLsn,
    }),
  );
  if (!applyLogOnly) {
    tellConfiguration('.', settings.files, settings.fileBytes);
    tellStart();
    startOnOwnLogs(settings, masters, false);
  }
  if (incrementDirectory !== undefined) copyOverBase(incrementDirectory);
  tell.timed('completed OK!');
};

/** 8.x reads the info file before anything else. */
const checkInfo = (directory: string): void => {
  const path = `${directory}/xtrabackup_info`;
  const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
  const needed = ['server_version', ...(version.atLeast('8.4.0') ? ['server_flavor', 'lock_ddl_type'] : [])];
  if (needed.every((name) => new RegExp(`^${name} = `, 'm').test(text))) return;
  tell.bare(`Failed to parse xtrabackup_info from '${directory === '.' ? './' : `${directory}/`}xtrabackup_info'`);
  throw new Exit(1);
};

/** Redo of the target itself, which is new or clean. */
const startOnOwnLogs = (settings: LogSettings, masters: MasterKeys, applyLogOnly: boolean): number => {
  const existing = RedoLog.open('.');
  const log = existing ?? createLogs(settings, systemFlushLsn());
  const scan = scanRedo(log, log.checkpoint.lsn);
  log.close();
  return runInnodb({
    scan,
    checkpointLsn: log.checkpoint.lsn,
    masters,
    applyLogOnly,
    ownLog: true,
    clean: existing !== undefined,
  });
};

const systemFlushLsn = (): number => {
  const first = Buffer.alloc(PAGE_SIZE);
  const file = openSync(SYSTEM_FILE, 'r');
  readSync(file, first, 0, PAGE_SIZE, 0);
  closeSync(file);
  return flushLsn(first);
};

/** Without the system tablespace a new, empty one is made. */
const startWithoutSystem = (): number => {
  tell.innodb("The first innodb_system data file 'ibdata1' did not exist. A new tablespace will be created!");
  tell.innodb("File './ibdata1' size is now 12 MB.");
  tell.innodb('New log files created, LSN=45790');
  tell.innodb('Doublewrite buffer not found: creating new');
  tell.innodb('5.7.13 started; log sequence number 0');
  return 0;
};

/** What is not InnoDB's comes from the increment as it is. */
const copyOverBase = (increment: string): void => {
  for (const entry of readdirSync('.', { withFileTypes: true }))
    if (entry.isDirectory())
      for (const file of readdirSync(entry.name)) if (OTHER_FILES.test(file)) unlinkSync(`${entry.name}/${file}`);
  for (const entry of readdirSync(increment, { withFileTypes: true }))
    if (entry.isDirectory())
      for (const file of readdirSync(join(increment, entry.name)))
        if (OTHER_FILES.test(file)) copyFile(join(increment, entry.name, file), `./${entry.name}/${file}`, 1);
  for (const name of OWN_FILES) {
    if (!existsSync(join(increment, name))) continue;
    if (existsSync(name)) unlinkSync(name);
    copyFile(`${increment}/${name}`, `./${name}`, 0);
  }
};
