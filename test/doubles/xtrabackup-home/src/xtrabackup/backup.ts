import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { SYSTEM_FILE, tablespaceFiles } from '../../../page-store/data-files.ts';
import { ENCRYPTED_FLAG, PAGE_SIZE } from '../../../page-store/page.ts';
import { RedoLog } from '../../../page-store/redo-log.ts';
import { Tablespace } from '../../../page-store/tablespace.ts';
import { isKeyLength, readKeyFile } from '../crypt-chunks.ts';
import { bytesOf } from '../option-file.ts';
import { toolVersion } from '../tool-version.ts';
import { errcode } from '../write-all.ts';
import { backupKeys } from './backup-keys.ts';
import { CHECKPOINTS, encodeMetadata, readMetadata } from './checkpoints.ts';
import { Exit, tell } from './console.ts';
import { copyTablespace, spaceOfFile } from './copy-tablespace.ts';
import { compressingSink, directorySink, encryptingSink, type Sink, streamSink, writeWhole } from './data-sink.ts';
import { addHistory, lsnFromHistory } from './history.ts';
import { waitForQueries } from './long-queries.ts';
import { directoryOption, type Options, recordedCommand } from './options.ts';
import { RedoCopy } from './redo-copy.ts';
import { dataDirectory, ServerConnection } from './server-connection.ts';
import { tellNotDecryptable } from './tablespace-messages.ts';
import { tellVersion } from './tell-version.ts';

const version = toolVersion();

/** Files that are copied under the lock, as they are. */
const OTHER_FILES = /\.(frm|isl|MYD|MYI|MAD|MAI|MRG|TRG|TRN|ARM|ARZ|CSM|CSV|opt|par|sdi)$/;

interface From {
  readonly lsn: bigint;
}

/** As `strtoull` reads it: nothing is 0, a minus wraps around. */
const parseLsn = (text: string): bigint => {
  if (!/^\s*[-+]?\d*$/.test(text)) {
    tell.tool(`value '${text}' may be wrong format for incremental option.`);
    throw new Exit(1);
  }
  return BigInt.asUintN(64, BigInt(text.trim() === '' || text === '-' ? 0 : text.trim().replace('+', '')));
};

/** What the increment is taken against; told of before anything is connected. */
const incrementFrom = (options: Options): From | undefined => {
  const given = options.get('incremental-lsn');
  if (given !== undefined) return { lsn: parseLsn(given) };
  const base = directoryOption(options, 'incremental-basedir');
  if (base === undefined) return undefined;
  const path = `${base}/${CHECKPOINTS}`;
  const metadata = readMetadata(path);
  if (!metadata) {
    tell.tool(`Error: cannot open ${path}`);
    tell.tool(`error: failed to read metadata from ${path}`);
    throw new Exit(1);
  }
  return { lsn: metadata.toLsn };
};

const makeDirectory = (path: string): void => {
  if (existsSync(path)) return;
  try {
    mkdirSync(path, { mode: 0o750 });
  } catch (error) {
    tell.tool(`Error: cannot mkdir ${Math.abs((error as NodeJS.ErrnoException).errno ?? 0)}: ${path}`);
    throw new Exit(1);
  }
};

const encryptionKey = (options: Options): Buffer | undefined => {
  const algorithm = options.get('encrypt');
  if (algorithm === undefined || algorithm === 'NONE') return undefined;
  tell.bare('encryption: using gcrypt 1.10.1');
  const file = options.get('encrypt-key-file');
  const literal = options.get('encrypt-key');
  let key: Buffer = Buffer.alloc(0);
  if (file !== undefined && literal !== undefined) tell.bare('encryption: both encryption key and key file specified.');
  else if (file === undefined && literal === undefined)
    tell.bare('encryption: no encryption key or key file specified.');
  else if (file === undefined) key = Buffer.from(literal ?? '', 'latin1');
  else {
    const content = readKeyFile(file);
    if (typeof content === 'number') {
      tell.raw(`xtrabackup:xb_crypt_read_key_file: unable to open config file "${file}", errno(${content})`);
      tell.bare(`encryption: unable to read encryption key file "${file}".`);
    } else key = content;
  }
  if (isKeyLength(key)) return key;
  tell.bare('encryption: unable to set libgcrypt cipher key - User defined source 1 : Invalid key length');
  tell.bare('encrypt: failed to create worker threads.');
  tell.bare('Error: failed to initialize datasink.');
  throw new Exit(1);
};

interface Sinks {
  readonly data: Sink;
  readonly redo: Sink;
  /** Checkpoints and `.meta`: in clear since 2.4.12. */
  readonly meta: Sink;
  readonly stream: boolean;
  readonly suffix: string;
  readonly encrypted: boolean;
  readonly compressed: boolean;
}

const makeSinks = (options: Options, target: string): Sinks => {
  const stream = options.has('stream');
  const kind = options.get('stream') ?? '';
  if (stream && !['xbstream', ...(version.modern ? [''] : [])].includes(kind)) {
    tell.tool(`Invalid --stream argument: ${kind}`);
    throw new Exit(1);
  }
  const base = stream ? streamSink() : directorySink(target);
  const key = encryptionKey(options);
  const chunk = bytesOf(options.get('encrypt-chunk-size') ?? '64K');
  const encrypted = key ? encryptingSink(base, key, chunk) : base;
  const compressed = options.has('compress') && version.modern;
  const data = compressed ? compressingSink(encrypted, Number(options.get('compress-zstd-level') ?? 1)) : encrypted;
  return {
    data,
    redo: data,
    meta: version.atLeast('2.4.12') ? base : encrypted,
    stream,
    suffix: `${compressed ? '.zst' : ''}${key ? '.xbcrypt' : ''}`,
    encrypted: key !== undefined,
    compressed,
  };
};

/** `Copying`, `Encrypting and streaming`, … */
const doing = (sinks: Sinks, plain: string): string => {
  const words = [
    ...(sinks.compressed ? ['Compressing'] : []),
    ...(sinks.encrypted ? [sinks.compressed ? 'encrypting' : 'Encrypting'] : []),
    ...(sinks.stream ? [sinks.encrypted || sinks.compressed ? 'streaming' : 'Streaming'] : []),
  ];
  return words.length === 0 ? plain : words.join(' and ');
};

const serverCnf = (connection: ServerConnection, uuid: string): string => {
  const variable = (name: string): string => connection.variable(name);
  const shared = [
    `innodb_data_file_path=${variable('innodb_data_file_path')}`,
    ...(version.modern ? [] : [`innodb_log_files_in_group=${variable('innodb_log_files_in_group')}`]),
    `innodb_log_file_size=${variable('innodb_log_file_size')}`,
  ];
  if (version.modern)
    return [
      '# This MySQL options file was generated by XtraBackup.',
      '[mysqld]',
      'innodb_checksum_algorithm=crc32',
      'innodb_log_checksums=1',
      ...shared,
      `innodb_page_size=${PAGE_SIZE}`,
      'innodb_undo_directory=./',
      'innodb_undo_tablespaces=2',
      `server_id=${variable('server_id')}`,
      'innodb_redo_log_encrypt=OFF',
      'innodb_undo_log_encrypt=OFF',
      `server_uuid=${uuid}`,
      'master_key_id=1',
      '',
    ].join('\n');
  return [
    '# This MySQL options file was generated by innobackupex.',
    '',
    '# The MySQL server',
    '[mysqld]',
    'innodb_checksum_algorithm=crc32',
    'innodb_log_checksum_algorithm=strict_crc32',
    ...shared,
    'innodb_fast_checksum=false',
    `innodb_page_size=${PAGE_SIZE}`,
    'innodb_log_block_size=512',
    'innodb_undo_directory=./',
    'innodb_undo_tablespaces=0',
    `server_id=${version.atLeast('2.4.11') ? variable('server_id') : 0}`,
    '',
    'redo_log_version=1',
    ...(version.atLeast('2.4.11') ? ['', `server_uuid=${uuid}`, '', 'master_key_id=1'] : []),
    '',
    '',
  ].join('\n');
};

const sqlTime = (date: Date): string => {
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19).replace('T', ' ');
};

/** Copies files with this many threads: each works on a file of its own, read by read, in turn. */
const copyAll = async (
  files: readonly string[],
  threads: number,
  throttle: number,
  start: (path: string, thread: number) => Generator<void>,
): Promise<void> => {
  const waiting = [...files];
  const running = new Map<number, Generator<void>>();
  let inThisSecond = 0;
  for (;;) {
    for (let thread = 1; thread <= threads; thread++) {
      if (running.has(thread)) continue;
      const path = waiting.shift();
      if (path !== undefined) running.set(thread, start(path, thread));
    }
    if (running.size === 0) return;
    for (const [thread, copy] of running) {
      if (throttle > 0 && ++inThisSecond > throttle) {
        await new Promise((resolve) => setTimeout(resolve, 1000));
        inThisSecond = 1;
      }
      if (copy.next().done) running.delete(thread);
    }
    // Timers run: the redo is followed while files are copied.
    await new Promise((resolve) => setImmediate(resolve));
  }
};

/** Each series backs up the server of its own series. */
const checkServer = (server: string): void => {
  const series = version.version.split('.').slice(0, 2).join('.');
  if (server.startsWith(`${series}.`)) return;
  tell.bare(`Unsupported server version: '${server}'.`);
  tell.bare(
    `This version of Percona XtraBackup can only perform backups and restores against MySQL ${series} and Percona Server ${series}`,
  );
  throw new Exit(1);
};

/** Runs `--backup`. Throws `Exit`. */
export const backup = async (options: Options): Promise<void> => {
  const startTime = new Date();
  const early = incrementFrom(options);
  const target = directoryOption(options, 'target-dir') ?? `${resolve('./xtrabackup_backupfiles')}/`;
  const extra = directoryOption(options, 'extra-lsndir');
  const connection = await ServerConnection.open(options);
  tell.bare(`Using server version ${connection.variable('version')}`);
  const directory = dataDirectory(options, connection);
  await connection.query('SHOW ENGINE INNODB STATUS');
  const from = early ?? (await lsnFromHistory(options, connection));
  if (version.modern) checkServer(connection.variable('version'));
  tellVersion();
  if (from) tell.bare(`incremental backup from ${from.lsn} is enabled.`);
  tell.tool('uses posix_fadvise().');
  try {
    process.chdir(directory);
  } catch (error) {
    tell.tool(`Can't change dir to '${directory}' ${errcode(error)}`);
    tell.tool(`cannot my_setwd ${directory}`);
    throw new Exit(1);
  }
  tell.tool(`cd to ${directory}`);
  tell.tool('open files limit requested 0, set to 20000');
  tell.tool('using the following InnoDB configuration:');
  tell.tool('  innodb_data_home_dir = .');
  tell.tool(`  innodb_data_file_path = ${connection.variable('innodb_data_file_path')}`);
  tell.tool('  innodb_log_group_home_dir = ./');
  tell.tool(`  innodb_log_files_in_group = ${connection.variable('innodb_log_files_in_group')}`);
  tell.tool(`  innodb_log_file_size = ${connection.variable('innodb_log_file_size')}`);
  tell.innodb('Number of pools: 1');
  const locksDdl =
    version.modern && !options.has('no-lock') && (options.get('lock-ddl') === undefined || options.has('lock-ddl'));
  if (locksDdl) {
    tell.timed('Executing LOCK INSTANCE FOR BACKUP ...');
    await connection.query('LOCK INSTANCE FOR BACKUP');
  }
  const keys = await backupKeys(options, connection, directory);
  // Only after the server, the keyring and the redo are known is an unknown option an error (--strict).
  const strict = version.modern && !/^(0|off|false)$/i.test(options.get('strict') ?? 'on');
  makeDirectory(target);
  if (extra !== undefined) makeDirectory(extra);
  const sinks = makeSinks(options, target);

  const log = RedoLog.open('.', 'r');
  if (!log) {
    tell.tool('error: cannot open ./ib_logfile0');
    throw new Exit(1);
  }
  let redoFile: ReturnType<Sink['open']>;
  try {
    redoFile = sinks.redo.open('xtrabackup_logfile');
  } catch (error) {
    tell.tool("error: failed to open the target stream for 'xtrabackup_logfile'.");
    throw error;
  }
  const redo = new RedoCopy(log, redoFile, keys, startTime);
  let failed: unknown;
  const follow = (): void => {
    try {
      redo.follow(false);
      tell.timed(`>> log scanned up to (${redo.scannedLsn})`);
    } catch (error) {
      // The log copying thread ends the whole program.
      if (error instanceof Exit) process.exit(error.code);
      failed = error;
    }
  };
  redo.follow(false);
  tell.timed(`>> log scanned up to (${redo.scannedLsn})`);
  if (strict && options.unknown.length > 0) {
    tell.bare(`Error: unknown argument: '${options.unknown[0]}'`);
    throw new Exit(1);
  }
  const follower = setInterval(follow, Number(options.get('log-copy-interval') ?? 1000));

  tell.tool('Generating a list of tablespaces');
  const files: string[] = [SYSTEM_FILE];
  let allocated = false;
  for (const path of tablespaceFiles('.')) {
    const opened = Tablespace.open('.', path, keys.masters, 'r');
    if (opened.kind === 'opened') {
      if (opened.tablespace.key && (opened.tablespace.flags & ENCRYPTED_FLAG) !== 0)
        keys.note(opened.tablespace.space, opened.tablespace.key);
      if (!allocated)
        tell.innodb(
          `Allocated tablespace ID ${opened.tablespace.space} for ${path.slice(0, -'.ibd'.length)}, old maximum was 0`,
        );
      allocated = true;
      opened.tablespace.close();
      files.push(path);
    } else if (opened.kind === 'not-decryptable') {
      tellNotDecryptable(path, opened.why);
      keys.missing(opened.space, opened.why);
    }
  }
  if (from) {
    if (from.lsn > BigInt(redo.startLsn))
      tell.tool(`incremental backup LSN ${from.lsn} is larger than than the last checkpoint LSN ${redo.startLsn}`);
    tell.tool('using the full scan for incremental backup');
  }

  const word = doing(sinks, 'Copying');
  const kindSuffix = from ? '.delta' : '';
  const where = (path: string): string => (sinks.stream ? '' : ` to ${target}${path}${sinks.suffix}`);
  await copyAll(
    files,
    Number(options.get('parallel') ?? 1),
    Number(options.get('throttle') ?? 0),
    function* (path, thread) {
      tell.thread(thread, `${word} ./${path}${where(`${path}${kindSuffix}`)}`);
      try {
        if (from)
          writeWhole(
            sinks.meta,
            `${path}.meta`,
            `page_size = ${PAGE_SIZE}\nzip_size = 0\nspace_id = ${spaceOfFile('.', path)}\n${version.modern ? 'space_flags = 0\n' : ''}`,
          );
        const file = sinks.data.open(`${path}${kindSuffix}`);
        yield* copyTablespace('.', path, file, from?.lsn);
        file.close();
      } catch (error) {
        // Dropped since it was listed.
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
        if (!(error instanceof Exit)) throw error;
        tell.raw(`[${String(thread).padStart(2, '0')}] xtrabackup: Error: xtrabackup_copy_datafile() failed.`);
        tell.raw(`[${String(thread).padStart(2, '0')}] xtrabackup: Error: failed to copy datafile.`);
        throw error;
      }
      tell.thread(thread, '       ...done');
    },
  );

  const noLock = options.has('no-lock');
  const lockTime = new Date();
  if (!noLock) {
    await connection.query('SET SESSION lock_wait_timeout=31536000');
    await waitForQueries(options, connection);
    tell.timed('Executing FLUSH NO_WRITE_TO_BINLOG TABLES...');
    await connection.query('FLUSH NO_WRITE_TO_BINLOG TABLES');
    tell.timed('Executing FLUSH TABLES WITH READ LOCK...');
    await connection.query('FLUSH TABLES WITH READ LOCK');
  }
  const streamed = sinks.stream ? ' to <STDOUT>' : '';
  const copyOther = (path: string, thread: number, plain: string): void => {
    const content = readFileSync(path);
    tell.thread(
      thread,
      `${doing(sinks, 'Copying')} ${plain}${sinks.stream ? streamed : ` to ${target}${path.replace(/^\.\//, '')}${sinks.suffix}`}`,
    );
    writeWhole(sinks.data, path.replace(/^\.\//, ''), content);
    tell.thread(thread, '       ...done');
  };
  const writeOwn = (name: string, content: string | Buffer): void => {
    tell.thread(0, `${doing(sinks, 'Writing')} ${name}`);
    writeWhole(sinks.data, name, content);
    tell.thread(0, '       ...done');
  };
  tell.timed('Starting to backup non-InnoDB tables and files');
  for (const entry of readdirSync('.', { withFileTypes: true }))
    if (entry.isDirectory())
      for (const file of readdirSync(entry.name))
        if (OTHER_FILES.test(file)) copyOther(`./${entry.name}/${file}`, 1, `./${entry.name}/${file}`);
  tell.timed('Finished backing up non-InnoDB tables and files');

  let position: { readonly file: string; readonly at: string; readonly gtid: string } | undefined;
  {
    const [row] = await connection.query(
      connection.variable('version').startsWith('5.') || connection.variable('version').startsWith('8.0')
        ? 'SHOW MASTER STATUS'
        : 'SHOW BINARY LOG STATUS',
    );
    if (row?.File)
      position = { file: row.File, at: row.Position ?? '', gtid: (row.Executed_Gtid_Set ?? '').replaceAll('\n', '') };
  }
  if (position)
    writeOwn(
      'xtrabackup_binlog_info',
      `${position.file}\t${position.at}${position.gtid === '' ? '' : `\t${position.gtid}`}\n`,
    );
  tell.timed('Executing FLUSH NO_WRITE_TO_BINLOG ENGINE LOGS...');
  await connection.query('FLUSH NO_WRITE_TO_BINLOG ENGINE LOGS');

  clearInterval(follower);
  if (failed) throw failed;
  const toLsn = redo.checkpointLsn;
  tell.tool(`The latest check point (for incremental): '${toLsn}'`);
  tell.tool('Stopping log copying thread.');
  redo.follow(true);
  tell.glued(`>> log scanned up to (${redo.scannedLsn})`);
  redoFile.close();
  log.close();
  if (keys.fatalMissing.length > 0) {
    for (const space of keys.fatalMissing) tell.bare(`Space ID ${space} is missing encryption information.`);
    throw new Exit(1);
  }
  const metadata = encodeMetadata({
    type: from ? 'incremental' : 'full-backuped',
    fromLsn: from?.lsn ?? 0n,
    toLsn: BigInt(toLsn),
    lastLsn: BigInt(redo.scannedLsn),
  });
  writeWhole(sinks.meta, CHECKPOINTS, metadata);
  if (extra !== undefined) writeFileSync(join(extra, CHECKPOINTS), metadata);
  const unlocked = new Date();
  if (!noLock) {
    if (locksDdl) {
      tell.timed('Executing UNLOCK INSTANCE');
      await connection.query('UNLOCK INSTANCE');
    } else tell.timed('Executing UNLOCK TABLES');
    await connection.query('UNLOCK TABLES');
    tell.timed('All tables unlocked');
  }
  if (existsSync('ib_buffer_pool')) copyOther('ib_buffer_pool', 0, 'ib_buffer_pool');
  keys.write((name, content) => writeOwn(name, content));

  tell.timed(`Backup created in directory '${target}'`);
  const positionText =
    position &&
    `filename '${position.file}', position '${position.at}'${position.gtid === '' ? '' : `, GTID of the last change '${position.gtid}'`}`;
  if (positionText !== undefined) tell.bare(`MySQL binlog position: ${positionText}`);
  writeOwn('backup-my.cnf', serverCnf(connection, keys.uuid));
  if (version.modern) writeWhole(sinks.data, 'xtrabackup_tablespaces', '{"version":2,"external_tablespaces":[]}');
  const info: readonly (readonly [string, string])[] = [
    ['uuid', randomUUID()],
    ['name', options.get('history') ?? ''],
    ['tool_name', 'xtrabackup'],
    ['tool_command', recordedCommand(options.commandLine)],
    ['tool_version', version.version],
    ['ibbackup_version', version.version],
    ['server_version', connection.variable('version')],
    ...(version.atLeast('8.4.0') ? ([['server_flavor', connection.variable('version_comment')]] as const) : []),
    ['start_time', sqlTime(startTime)],
    ['end_time', sqlTime(new Date())],
    ['lock_time', String(Math.round((unlocked.getTime() - lockTime.getTime()) / 1000))],
    ['binlog_pos', positionText ?? ''],
    ['innodb_from_lsn', String(from?.lsn ?? 0)],
    ['innodb_to_lsn', String(toLsn)],
    ['partial', 'N'],
    ['incremental', from ? 'Y' : 'N'],
    ['format', sinks.stream ? 'xbstream' : 'file'],
    ...(version.modern ? [] : ([['compact', 'N']] as const)),
    ['compressed', sinks.compressed ? 'compressed' : 'N'],
    ['encrypted', sinks.encrypted ? 'Y' : 'N'],
    ...(version.atLeast('8.4.0') ? ([['lock_ddl_type', 'ON']] as const) : []),
  ];
  const infoText = info.map(([name, value]) => `${name} = ${value}\n`).join('');
  writeOwn('xtrabackup_info', infoText);
  if (extra !== undefined && version.atLeast('2.4.8')) writeFileSync(join(extra, 'xtrabackup_info'), infoText);
  if (options.has('history')) await addHistory(new Map(info), connection);
  connection.close();
  tell.tool(`Transaction log of lsn (${redo.startLsn}) to (${redo.scannedLsn}) was copied.`);
  tell.timed('completed OK!');
};
