import { RedoubtError } from '#core/errors.ts';

/** How one series of XtraBackup differs from the others: everything the agent needs to know of it, as data. */
export interface XtrabackupSeries {
  /** Series of MySQL and Percona Server it backs up. */
  readonly servers: readonly string[];
  /** Before this version of the tool, a server newer than the tool (by patch) is refused; absent: never, or always the same. */
  readonly followsServerUntil?: string;
  /** Options every backup gets. */
  readonly backup: readonly string[];
  readonly privileges: {
    /** On `*.*`; alternatives in one entry are separated by `|`, the first is the one to grant. */
    readonly privileges: readonly string[];
    /** Tables of performance_schema it reads. */
    readonly tables: readonly string[];
    /** One of these lets the canary stay out of the binary log (`SET sql_log_bin`). */
    readonly leavesBinlogBy: readonly string[];
  };
}

const PERFORMANCE_SCHEMA = ['log_status', 'keyring_component_status', 'replication_group_members'] as const;

const V8: Omit<XtrabackupSeries, 'servers'> = {
  // Unknown options are errors by default (--strict) but only once the server is connected; nothing to add.
  backup: [],
  privileges: {
    privileges: ['BACKUP_ADMIN', 'PROCESS', 'RELOAD|FLUSH_TABLES', 'LOCK TABLES', 'REPLICATION CLIENT'],
    tables: PERFORMANCE_SCHEMA,
    leavesBinlogBy: ['SESSION_VARIABLES_ADMIN', 'SYSTEM_VARIABLES_ADMIN', 'SUPER'],
  },
};

/** Sources: Percona's documentation of each series and, for 2.4, the recorded runs of 2.4.7. */
const SERIES: Readonly<Record<string, XtrabackupSeries>> = {
  '2.4': {
    servers: ['5.5', '5.6', '5.7'],
    // Without it a build with the version check starts perl with the password in its environment.
    backup: ['--no-version-check'],
    privileges: {
      privileges: ['PROCESS', 'RELOAD', 'LOCK TABLES', 'REPLICATION CLIENT'],
      tables: [],
      leavesBinlogBy: ['SUPER'],
    },
  },
  '8.0': { ...V8, servers: ['8.0'], followsServerUntil: '8.0.34' },
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
