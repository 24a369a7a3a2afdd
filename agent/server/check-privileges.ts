import { type EngineOptions, optionNames } from '#core/engine-options.ts';
import { RedoubtError } from '#core/errors.ts';
import type { EngineName } from '#core/server-identity.ts';
import { historyTable } from '../engines/history-table.ts';
import { mariadbOptions } from '../engines/mariadb-options.ts';
import { seriesOf } from '../engines/xtrabackup-series.ts';
import type { ServerConnection } from './server-connection.ts';

interface Grant {
  readonly privileges: ReadonlySet<string>;
  /** As the server prints it, unquoted: `*.*`, `redoubt.*`, `performance_schema.log_status`. */
  readonly on: string;
}

/** One thing the backup needs: any of these privileges, there. */
interface Need {
  readonly anyOf: readonly string[];
  readonly on: string;
}

/** The statements of `SHOW GRANTS`; those that grant a role or a proxy say nothing by themselves. */
export const parseGrants = (statements: readonly string[]): readonly Grant[] =>
  statements.flatMap((statement) => {
    const match = /^GRANT (.+?) ON (?:TABLE |DATABASE )?(\S+) TO /i.exec(statement);
    if (!match?.[1] || !match[2]) return [];
    const on = match[2].replaceAll('`', '').replaceAll('\\', '');
    const privileges = match[1]
      .replaceAll(/\([^)]*\)/g, '')
      .split(',')
      .map((privilege) => privilege.trim().toUpperCase());
    return [{ on, privileges: new Set(privileges) }];
  });

const covers = (on: string, wanted: string): boolean =>
  on === '*.*' || on === wanted || (on.endsWith('.*') && wanted.startsWith(on.slice(0, -1)));

const holds = (grants: readonly Grant[], need: Need): boolean =>
  grants.some(
    ({ on, privileges }) =>
      covers(on, need.on) &&
      (privileges.has('ALL PRIVILEGES') ||
        privileges.has('ALL') ||
        need.anyOf.some((privilege) => privileges.has(privilege))),
  );

const CANARY: readonly Need[] = ['SELECT', 'INSERT', 'DELETE', 'CREATE'].map((privilege) => ({
  anyOf: [privilege],
  on: 'redoubt.*',
}));

/**
 * What a mariadb-backup and the canary need. Measured with 10.11.19: RELOAD and PROCESS always, BINLOG MONITOR where the server
 * writes a binary log, LOCK TABLES never. REPLICATION CLIENT is its older name, SUPER the older way to BINLOG ADMIN.
 */
const mariadbNeeds = (binlog: boolean): readonly Need[] => [
  { anyOf: ['RELOAD'], on: '*.*' },
  { anyOf: ['PROCESS'], on: '*.*' },
  ...(binlog
    ? [
        { anyOf: ['BINLOG MONITOR', 'REPLICATION CLIENT', 'SUPER'], on: '*.*' },
        { anyOf: ['BINLOG ADMIN', 'SUPER'], on: '*.*' },
      ]
    : []),
];

const xtrabackupNeeds = (series: string, binlog: boolean): readonly Need[] => {
  const { privileges, tables, leavesBinlogBy } = seriesOf(series).privileges;
  return [
    ...privileges.map((privilege) => ({ anyOf: privilege.split('|'), on: '*.*' })),
    ...tables.map((table) => ({ anyOf: ['SELECT'], on: `performance_schema.${table}` })),
    ...(binlog ? [{ anyOf: leavesBinlogBy, on: '*.*' }] : []),
  ];
};

/**
 * The schema of XtraBackup's table may have to be made, so there the privileges are on the schema. Without INSERT the engine completes OK and
 * records nothing: it does not look at how that statement ended (its sources).
 */
const historyNeeds = (engine: { readonly name: EngineName; readonly series: string }): readonly Need[] => {
  const table = historyTable(engine);
  const on = table.startsWith('mysql.') ? table : table.replace(/\..*/, '.*');
  return ['CREATE', 'ALTER', 'INSERT', 'SELECT'].map((privilege) => ({ anyOf: [privilege], on }));
};

const optionNeeds = (
  { name, series }: { readonly name: EngineName; readonly series: string },
  options: EngineOptions,
): readonly Need[] => {
  const supported = name === 'mariadb-backup' ? mariadbOptions : seriesOf(series).options;
  return optionNames(options).flatMap((option) => {
    const anyOf = options[option] === false ? undefined : supported[option]?.privileges;
    return anyOf === undefined ? [] : [{ anyOf, on: '*.*' }];
  });
};

/** `GRANT … ON … TO …;` for each place something is missing. */
const statementsFor = (missing: readonly Need[], account: string): string =>
  [...Map.groupBy(missing, ({ on }) => on)]
    .map(([on, needs]) => `GRANT ${needs.map(({ anyOf }) => anyOf[0]).join(', ')} ON ${on} TO ${account};`)
    .join(' ');

/** `'bk'@'localhost'` for the server's own `bk@localhost`. */
const quotedAccount = (account: string): string => {
  const at = account.lastIndexOf('@');
  return `'${account.slice(0, at)}'@'${account.slice(at + 1)}'`;
};

/** What of the cluster file needs privileges of its own. */
export interface AskedOfServer {
  /** Whether the engine records backups in the server. */
  readonly history?: boolean;
  readonly options?: EngineOptions;
}

export interface Privileges {
  readonly missing: readonly string[];
  readonly statement: string;
}

/** What `grants` lack for this engine; `statement` gives it. */
export const missingPrivileges = (
  engine: { readonly name: EngineName; readonly series: string },
  binlog: boolean,
  account: string,
  grants: readonly string[],
  asked: AskedOfServer = {},
): Privileges => {
  const held = parseGrants(grants);
  const needs = [
    ...(engine.name === 'mariadb-backup' ? mariadbNeeds(binlog) : xtrabackupNeeds(engine.series, binlog)),
    ...CANARY,
    ...(asked.history ? historyNeeds(engine) : []),
    ...optionNeeds(engine, asked.options ?? {}),
  ];
  const missing = needs.filter((need) => !holds(held, need));
  return {
    missing: missing.map(({ anyOf, on }) => (on === '*.*' ? (anyOf[0] ?? '') : `${anyOf[0]} on ${on}`)),
    statement: statementsFor(missing, quotedAccount(account)),
  };
};

/**
 * Throws `PrivilegesMissing` with the names and the GRANT statement unless the user of `connection` may do all that a backup
 * needs. Better than the engine, which notices some of it only after all data was copied (recorded: 72).
 */
export const checkPrivileges = async (
  connection: ServerConnection,
  engine: { readonly name: EngineName; readonly series: string },
  asked: AskedOfServer = {},
): Promise<void> => {
  const [session] = await connection.query(
    `SELECT CURRENT_USER() AS account, @@log_bin AS binlog, ${engine.series === '2.4' ? 'NULL' : 'CURRENT_ROLE()'} AS role`,
  );
  // What an active role gives: MariaDB shows it where no user is named, MySQL where the role is.
  const role = session?.role && session.role !== 'NONE' ? ` FOR CURRENT_USER() USING ${session.role}` : '';
  const grants = await connection.query(`SHOW GRANTS${engine.name === 'xtrabackup' ? role : ''}`);
  const account = session?.account ?? '';
  const { missing, statement } = missingPrivileges(
    engine,
    session?.binlog === '1',
    account,
    grants.map((row) => Object.values(row)[0] ?? ''),
    asked,
  );
  if (missing.length > 0)
    throw new RedoubtError('PrivilegesMissing', `${account} lacks ${missing.join(', ')}: ${statement}`);
};
