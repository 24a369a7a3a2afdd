import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { PageStore } from '../../../page-store/page-store.ts';
import { bytesOf } from '../option-file.ts';
import type { Value } from '../wire/server-session.ts';
import { Accounts } from './accounts.ts';
import { Binlog } from './binlog.ts';
import { componentKeyringFile } from './component-keyring.ts';
import { Database } from './database.ts';
import type { ServerLog } from './log.ts';
import { MasterKeyring } from './master-keyring.ts';
import { type ServerVersion, serverVersion } from './server-version.ts';

export type ServerOptions = ReadonlyMap<string, string>;

/** Pages nobody changed for so long are written while the server has nothing else to do. */
const IDLE_FLUSH_MS = 2_000;

export interface RunningQuery {
  readonly id: number;
  readonly user: string;
  database: string | null;
  sql: string | undefined;
  since: number;
  kill(): void;
}

const uuidOf = (dataDirectory: string, log: ServerLog): string => {
  const path = join(dataDirectory, 'auto.cnf');
  const known = existsSync(path) ? /server[-_]uuid\s*=\s*(\S+)/.exec(readFileSync(path, 'utf8'))?.[1] : undefined;
  if (known) return known;
  const uuid = randomUUID();
  log(
    'Warning',
    `No existing UUID has been found, so we assume that this is the first time that this server has been started. Generating a new UUID: ${uuid}.`,
  );
  writeFileSync(path, `[auto]\nserver-uuid=${uuid}\n`, { mode: 0o640 });
  return uuid;
};

/** The file of the component (8.0 and later), else of the plugin (before 8.4). */
const keyringFile = (version: ServerVersion, options: ServerOptions, dataDirectory: string): string | undefined => {
  const component = version.modern ? componentKeyringFile(dataDirectory) : undefined;
  const plugins = version.major < 8 || (version.major === 8 && version.minor < 4);
  return component !== undefined || !plugins || !(options.get('early-plugin-load') ?? '').includes('keyring_file')
    ? component
    : options.get('keyring-file-data');
};

const SYSTEM_TABLES = [
  ['mysql', 'gtid_executed'],
  ['mysql', 'innodb_table_stats'],
  ['sys', 'sys_config'],
] as const;

/** Everything of a server that sessions share. */
export class Server {
  readonly version = serverVersion();
  readonly options: ServerOptions;
  readonly dataDirectory: string;
  readonly uuid: string;
  readonly keyring: MasterKeyring;
  readonly store: PageStore;
  readonly database: Database;
  readonly accounts: Accounts;
  readonly binlog: Binlog | undefined;
  readonly startedAt = Math.floor(Date.now() / 1000);
  readonly sessions = new Map<number, RunningQuery>();
  readonly variables = new Map<string, Value>();
  /** Who holds the global read lock. */
  #lockedBy: number | undefined;
  readonly #waiting: (() => void)[] = [];
  #idle: NodeJS.Timeout | undefined;
  shutdown: () => void = () => {};

  private constructor(options: ServerOptions, log: ServerLog, fresh: boolean) {
    this.options = options;
    this.dataDirectory = resolve(options.get('datadir') ?? '.');
    if (fresh) mkdirSync(this.dataDirectory, { recursive: true, mode: 0o750 });
    this.uuid = uuidOf(this.dataDirectory, log);
    this.keyring = new MasterKeyring(
      keyringFile(this.version, options, this.dataDirectory),
      this.version.modern && componentKeyringFile(this.dataDirectory) !== undefined,
    );
    const storeOptions = {
      directory: this.dataDirectory,
      masters: this.keyring,
      logFiles: Number(options.get('innodb-log-files-in-group') ?? 2),
      logFileBytes: bytesOf(options.get('innodb-log-file-size') ?? '48M'),
      log,
    };
    this.store = fresh ? PageStore.initialize(storeOptions) : PageStore.open(storeOptions);
    this.database = new Database(this.store, this.dataDirectory, this.keyring, this.uuid);
    if (fresh) this.#createSystemTables();
    this.accounts = new Accounts(this.database);
    const logBin = options.get('log-bin');
    this.binlog =
      logBin === undefined || fresh
        ? undefined
        : new Binlog(
            this.dataDirectory,
            logBin === '' ? 'binlog' : logBin,
            this.uuid,
            options.get('gtid-mode')?.toUpperCase() === 'ON',
          );
    this.#fillVariables();
  }

  /** Makes the data directory of a new server and leaves it shut down. */
  static initialize(options: ServerOptions, log: ServerLog): void {
    const server = new Server(options, log, true);
    log(
      'Warning',
      'root@localhost is created with an empty password ! Please consider switching off the --initialize-insecure option.',
    );
    server.store.close();
  }

  /** Opens a data directory, recovering it where needed. */
  static start(options: ServerOptions, log: ServerLog): Server {
    return new Server(options, log, false);
  }

  get lockedBy(): number | undefined {
    return this.#lockedBy;
  }

  /** `FLUSH TABLES WITH READ LOCK`. */
  async lock(session: number): Promise<void> {
    await this.waitUntilWritable(session);
    this.#lockedBy = session;
  }

  unlock(session: number): void {
    if (this.#lockedBy !== session) return;
    this.#lockedBy = undefined;
    for (const go of this.#waiting.splice(0)) go();
  }

  /** Returns once no other session holds the global read lock. */
  async waitUntilWritable(session: number): Promise<void> {
    while (this.#lockedBy !== undefined && this.#lockedBy !== session)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** To be called after every change. */
  noteChange(sql: string, inBinlog: boolean): void {
    if (inBinlog && this.binlog) {
      this.binlog.append(sql);
      this.database.notePosition(this.binlog.file, this.binlog.position);
    }
    clearTimeout(this.#idle);
    this.store.maxDirtyPercent = Number(this.variables.get('innodb_max_dirty_pages_pct'));
    if (this.store.maxDirtyPercent >= 99) return;
    this.#idle = setTimeout(() => this.store.checkpoint(), IDLE_FLUSH_MS);
    this.#idle.unref();
  }

  close(): void {
    clearTimeout(this.#idle);
    writeFileSync(join(this.dataDirectory, 'ib_buffer_pool'), '0,5\n0,8\n', { mode: 0o640 });
    this.store.close();
    const pidFile = this.variables.get('pid_file');
    if (typeof pidFile === 'string' && existsSync(pidFile)) unlinkSync(pidFile);
  }

  /** `keyring_file_data` and the like. */
  option(name: string): string | undefined {
    return this.options.get(name);
  }

  #createSystemTables(): void {
    for (const name of ['mysql', 'sys', 'performance_schema']) this.database.createDatabase(name);
    const definition = {
      columns: [
        { name: 'id', type: 'int(11)', nullable: false, fallback: undefined, auto: false },
        { name: 'value', type: 'varchar(200)', nullable: true, fallback: undefined, auto: false },
      ],
      primary: ['id'],
      options: { ENGINE: 'InnoDB' },
    };
    for (const [database, table] of SYSTEM_TABLES) this.database.createTable(database, table, definition);
  }

  #fillVariables(): void {
    const pidFile = this.options.get('pid-file') ?? join(this.dataDirectory, 'mysqld.pid');
    const fixed: Readonly<Record<string, Value>> = {
      version: this.version.version,
      version_comment: 'Source distribution',
      datadir: `${this.dataDirectory}/`,
      basedir: '/usr/',
      server_uuid: this.uuid,
      server_id: Number(this.options.get('server-id') ?? 0),
      port: Number(this.options.get('port') ?? 3306),
      socket: this.options.get('socket') ?? '/tmp/mysql.sock',
      pid_file: pidFile,
      log_bin: this.binlog ? 'ON' : 'OFF',
      log_bin_basename: this.binlog ? join(this.dataDirectory, this.option('log-bin') || 'binlog') : '',
      log_slave_updates: 'OFF',
      log_error: this.options.get('log-error') ?? 'stderr',
      gtid_mode: this.options.get('gtid-mode')?.toUpperCase() ?? 'OFF',
      read_only: this.options.has('read-only') ? 'ON' : 'OFF',
      super_read_only: 'OFF',
      innodb_data_file_path: 'ibdata1:12M:autoextend',
      innodb_data_home_dir: '',
      innodb_log_group_home_dir: './',
      innodb_log_files_in_group: Number(this.options.get('innodb-log-files-in-group') ?? 2),
      innodb_log_file_size: bytesOf(this.options.get('innodb-log-file-size') ?? '48M'),
      innodb_page_size: 16_384,
      innodb_undo_directory: './',
      innodb_undo_tablespaces: 0,
      innodb_checksum_algorithm: 'crc32',
      innodb_log_checksums: 'ON',
      innodb_file_per_table: 'ON',
      innodb_flush_log_at_trx_commit: 1,
      innodb_max_dirty_pages_pct: Number(this.options.get('innodb-max-dirty-pages-pct') ?? 75),
      innodb_adaptive_flushing: 'ON',
      innodb_io_capacity: 200,
      innodb_buffer_pool_filename: 'ib_buffer_pool',
      innodb_buffer_pool_size: 134_217_728,
      keyring_file_data: this.options.get('keyring-file-data') ?? '',
      have_backup_locks: 'NO',
      have_backup_safe_binlog_info: 'NO',
      have_galera_enabled: 'NO',
      lock_wait_timeout: 31_536_000,
      wait_timeout: 28_800,
      plugin_dir: this.options.get('plugin-dir') ?? '/usr/lib/mysql/plugin/',
      slave_parallel_workers: 0,
      sql_log_bin: 'ON',
      character_set_server: 'latin1',
      default_storage_engine: 'InnoDB',
      hostname: 'localhost',
      autocommit: 'ON',
      sql_mode:
        'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION',
    };
    for (const [name, value] of Object.entries(fixed)) this.variables.set(name, value);
    if (this.version.modern) {
      for (const [name, value] of [
        ['innodb_redo_log_encrypt', 'OFF'],
        ['innodb_undo_log_encrypt', 'OFF'],
        ['version_compile_os', 'Linux'],
      ] as const)
        this.variables.set(name, value);
    }
    writeFileSync(pidFile, `${process.pid}\n`);
  }
}
