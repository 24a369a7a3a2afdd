import { Exit, tell } from './console.ts';
import type { Options } from './options.ts';
import type { ServerConnection } from './server-connection.ts';

const TABLE = 'PERCONA_SCHEMA.xtrabackup_history';

const COLUMNS = [
  'uuid',
  'name',
  'tool_name',
  'tool_command',
  'tool_version',
  'ibbackup_version',
  'server_version',
  'start_time',
  'end_time',
  'lock_time',
  'binlog_pos',
  'innodb_from_lsn',
  'innodb_to_lsn',
  'partial',
  'incremental',
  'format',
  'compact',
  'compressed',
  'encrypted',
] as const;

const quoted = (value: string | undefined): string =>
  value === undefined || value === '' ? 'NULL' : `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

/**
 * Adds a finished backup to the server's history table, which is made where it is absent. Whether the row got there, the tool does not look: its
 * sources (`write_xtrabackup_info`) ignore how the statement ended.
 */
export const addHistory = async (info: ReadonlyMap<string, string>, connection: ServerConnection): Promise<void> => {
  await connection.query('CREATE DATABASE IF NOT EXISTS PERCONA_SCHEMA');
  await connection.query(
    `CREATE TABLE IF NOT EXISTS ${TABLE}(uuid VARCHAR(40) NOT NULL PRIMARY KEY, ${COLUMNS.slice(1)
      .map((name) => `${name} ${/_lsn$|lock_time/.test(name) ? 'BIGINT UNSIGNED' : 'TEXT'} DEFAULT NULL`)
      .join(', ')}) CHARACTER SET utf8 ENGINE=innodb`,
  );
  const value = (name: string): string | undefined =>
    name === 'compressed' ? (info.get(name) === 'N' ? 'N' : 'Y') : name === 'compact' ? 'N' : info.get(name);
  await connection.attempt(
    `INSERT INTO ${TABLE}(${COLUMNS.join(', ')}) VALUES(${COLUMNS.map((name) => quoted(value(name))).join(', ')})`,
  );
};

/** `--incremental-history-name` and `-uuid`; `undefined` where neither is given. */
export const lsnFromHistory = async (
  options: Options,
  connection: ServerConnection,
): Promise<{ readonly lsn: bigint } | undefined> => {
  for (const kind of ['name', 'uuid'] as const) {
    const wanted = options.get(`incremental-history-${kind}`);
    if (wanted === undefined) continue;
    const [row] = await connection.query(
      `SELECT innodb_to_lsn FROM ${TABLE} WHERE ${kind} = ${quoted(wanted)} AND innodb_to_lsn IS NOT NULL ORDER BY innodb_to_lsn DESC LIMIT 1`,
    );
    if (row?.innodb_to_lsn) return { lsn: BigInt(row.innodb_to_lsn) };
    tell.bare(`error while attempting to find history record for ${kind} ${wanted}`);
    throw new Exit(1);
  }
  return undefined;
};
