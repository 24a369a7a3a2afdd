import { RedoubtError } from '#core/errors.ts';
import type { KeyringKind } from '#core/tablespace-encryption.ts';
import type { SupportedOptions } from './option-arguments.ts';

/** How a series is told of one kind of keyring. */
export interface KeyringOptions {
  /** The first version of the tool that knows it; absent: every one of the series. */
  readonly since?: string;
  /** Names the keyring when a backup is taken; absent: the tool asks the server. */
  readonly atBackup?: string;
  /** Names it when a backup is prepared or handed over. */
  readonly atPrepare: string;
  /** The plugin a server loads it with, as its own option file names it. */
  readonly plugin?: string;
  /** The name the file must have: a component looks at nothing else. */
  readonly fileName?: string;
}

/** How one series of XtraBackup differs from the others: everything the agent needs to know of it, as data. */
export interface XtrabackupSeries {
  /** Series of MySQL and Percona Server it backs up. */
  readonly servers: readonly string[];
  /** Before this version of the tool, a server newer than the tool (by patch) is refused; absent: never, or always the same. */
  readonly followsServerUntil?: string;
  /** Options of the cluster file that it knows; `since` is the first version of the tool. */
  readonly options: SupportedOptions;
  /** Whether `--no-version-check` may be given to a build that does not have it. */
  readonly ignoresUnknownOptions: boolean;
  /** `--encrypt` writes the form of chunks that is read here from this version on. */
  readonly nativeSince: string;
  readonly privileges: {
    /** On `*.*`; alternatives in one entry are separated by `|`, the first is the one to grant. */
    readonly privileges: readonly string[];
    /** Tables of performance_schema it reads. */
    readonly tables: readonly string[];
    /** One of these lets the canary stay out of the binary log (`SET sql_log_bin`). */
    readonly leavesBinlogBy: readonly string[];
  };
  readonly keyrings: Readonly<Partial<Record<KeyringKind, KeyringOptions>>>;
  /** `--transition-key`, `--generate-transition-key`, `--generate-new-master-key` and `--xtrabackup-plugin-dir` came with this version. */
  readonly transitionSince: string;
  /** Before this version the tool leaves out an encrypted table whose first page is not written yet, and says OK; absent: never. */
  readonly missesUnwrittenUntil?: string;
  /** From this version of the server on the names of master keys hold its uuid; before, they hold the id `--server-id` gives. */
  readonly uuidInKeyNamesSince?: string;
}

const PERFORMANCE_SCHEMA = ['log_status', 'keyring_component_status', 'replication_group_members'] as const;

const COMPONENT_FILE: KeyringOptions = {
  atPrepare: '--component-keyring-config',
  fileName: 'component_keyring_file.cnf',
};
const COMPONENT_KMIP: KeyringOptions = {
  atPrepare: '--component-keyring-config',
  fileName: 'component_keyring_kmip.cnf',
};
const COMPONENT_KMS: KeyringOptions = {
  atPrepare: '--component-keyring-config',
  fileName: 'component_keyring_kms.cnf',
};
const COMPONENT_VAULT: KeyringOptions = {
  atPrepare: '--component-keyring-config',
  fileName: 'component_keyring_vault.cnf',
};

/** 8.4 and all before it that are innovation releases: the plugins are gone. */
const COMPONENTS: XtrabackupSeries['keyrings'] = {
  'component-keyring-file': COMPONENT_FILE,
  'component-keyring-kmip': COMPONENT_KMIP,
  'component-keyring-kms': COMPONENT_KMS,
  'component-keyring-vault': COMPONENT_VAULT,
};

/** Of 2.4 and later. */
const OPTIONS: SupportedOptions = {
  slaveInfo: {},
  galeraInfo: {},
  safeSlaveBackup: { privileges: ['REPLICATION_SLAVE_ADMIN', 'SUPER'] },
  safeSlaveBackupTimeout: {},
  ftwrlWaitTimeout: {},
  ftwrlWaitThreshold: {},
  ftwrlWaitQueryType: {},
  killLongQueriesTimeout: { privileges: ['CONNECTION_ADMIN', 'SUPER'] },
  killLongQueryType: {},
  lockDdl: {},
  lockDdlTimeout: {},
  backupLockTimeout: {},
  backupLockRetryCount: {},
};

const ARCHIVE = ['INNODB_REDO_LOG_ARCHIVE'];

const V8: Omit<XtrabackupSeries, 'servers'> = {
  options: {
    ...OPTIONS,
    registerRedoLogConsumer: { privileges: ARCHIVE },
    redoLogArchDir: { privileges: ARCHIVE },
    pageTracking: {},
  },
  // --strict is on, but only takes effect once the server is connected.
  ignoresUnknownOptions: false,
  nativeSince: '8.0.0',
  privileges: {
    privileges: ['BACKUP_ADMIN', 'PROCESS', 'RELOAD|FLUSH_TABLES', 'LOCK TABLES', 'REPLICATION CLIENT'],
    tables: PERFORMANCE_SCHEMA,
    leavesBinlogBy: ['SESSION_VARIABLES_ADMIN', 'SYSTEM_VARIABLES_ADMIN', 'SUPER'],
  },
  keyrings: COMPONENTS,
  transitionSince: '8.0.0',
};

/** Sources: Percona's documentation of each series and, for 2.4, the recorded runs of 2.4.7. */
const SERIES: Readonly<Record<string, XtrabackupSeries>> = {
  '2.4': {
    servers: ['5.5', '5.6', '5.7'],
    options: {
      ...OPTIONS,
      safeSlaveBackup: { privileges: ['SUPER'] },
      killLongQueriesTimeout: { privileges: ['SUPER'] },
      lockDdl: { since: '2.4.8' },
      lockDdlTimeout: { since: '2.4.8' },
      backupLockTimeout: { since: '2.4.16' },
      backupLockRetryCount: { since: '2.4.16' },
    },
    ignoresUnknownOptions: true,
    nativeSince: '2.4.5',
    privileges: {
      privileges: ['PROCESS', 'RELOAD', 'LOCK TABLES', 'REPLICATION CLIENT'],
      tables: [],
      leavesBinlogBy: ['SUPER'],
    },
    keyrings: {
      'keyring-file': {
        since: '2.4.2',
        atBackup: '--keyring-file-data',
        atPrepare: '--keyring-file-data',
        plugin: 'keyring_file.so',
      },
      'keyring-vault': {
        since: '2.4.11',
        atBackup: '--keyring-vault-config',
        atPrepare: '--keyring-vault-config',
        plugin: 'keyring_vault.so',
      },
    },
    transitionSince: '2.4.11',
    missesUnwrittenUntil: '2.4.21',
    uuidInKeyNamesSince: '5.7.13',
  },
  '8.0': {
    ...V8,
    options: {
      ...V8.options,
      registerRedoLogConsumer: { since: '8.0.30-23', privileges: ARCHIVE },
      redoLogArchDir: { since: '8.0.34-29', privileges: ARCHIVE },
      pageTracking: { since: '8.0.30-23' },
    },
    // FLUSH_TABLES alone does not do: it flushes logs too.
    privileges: {
      ...V8.privileges,
      privileges: V8.privileges.privileges.map((privilege) => privilege.replace('|FLUSH_TABLES', '')),
    },
    servers: ['8.0'],
    followsServerUntil: '8.0.34',
    missesUnwrittenUntil: '8.0.22',
    keyrings: {
      // It asks the server as well, but takes the option, as Percona's manual gives it.
      'keyring-file': {
        atBackup: '--keyring-file-data',
        atPrepare: '--keyring-file-data',
        plugin: 'keyring_file.so',
      },
      'keyring-vault': {
        atBackup: '--keyring-vault-config',
        atPrepare: '--keyring-vault-config',
        plugin: 'keyring_vault.so',
      },
      // 8.0.26 and 8.0.27 have the component under an option of another name.
      'component-keyring-file': { ...COMPONENT_FILE, since: '8.0.28' },
      'component-keyring-kmip': { ...COMPONENT_KMIP, since: '8.0.28' },
      'component-keyring-kms': { ...COMPONENT_KMS, since: '8.0.28-21' },
    },
  },
  '8.4': { ...V8, servers: ['8.4'] },
  // Innovation releases: each backs up the server of its own series only.
  '8.1': { ...V8, servers: ['8.1'] },
  '8.2': { ...V8, servers: ['8.2'] },
  '8.3': { ...V8, servers: ['8.3'] },
};

const INNOVATION = /^9\.\d+$/;

/** Throws `EngineUnsuited` for a series nothing is known of. */
export const seriesOf = (series: string): XtrabackupSeries => {
  const known = SERIES[series] ?? (INNOVATION.test(series) ? { ...V8, servers: [series] } : undefined);
  if (!known) throw new RedoubtError('EngineUnsuited', `XtraBackup ${series} is not one of 2.4, 8.0 to 8.4 and 9.x`);
  return known;
};
