import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { ServerConfig } from '#core/cluster-config.ts';
import { RedoubtError } from '#core/errors.ts';
import { type Lsn, parseLsn } from '#core/lsn.ts';
import type { BinlogPosition } from '#core/manifest.ts';
import { type ServerIdentity, serverIdentitySchema } from '#core/server-identity.ts';
import { listTablespaces } from './list-tablespaces.ts';
import type { ServerConnection } from './server-connection.ts';
import type { ServerFacts } from './server-facts.ts';

type Variables = Readonly<Record<string, string>>;

const variablesOf = async (connection: ServerConnection): Promise<Variables> =>
  Object.fromEntries(
    (await connection.query('SHOW GLOBAL VARIABLES')).map(({ Variable_name, Value }) => [
      (Variable_name ?? '').toLowerCase(),
      Value ?? '',
    ]),
  );

const flavourOf = (variables: Variables): ServerIdentity['flavour'] => {
  const words = `${variables.version} ${variables.version_comment}`;
  if (/mariadb/i.test(words)) return 'mariadb';
  return /percona/i.test(words) ? 'percona' : 'mysql';
};

/**
 * MariaDB before 10.5.26, 10.6.19, 10.11.9 and 11.4.3 has no id of its own. Host and data directory tell two servers apart as well
 * as `@@server_uid` does, which is made of the network card and the port; that a server is the same in time, only the canary shows.
 */
const derivedUuid = (dataDirectory: string): string => {
  const machine = ['/etc/machine-id', '/var/lib/dbus/machine-id'].find((path) => existsSync(path));
  const host = machine === undefined ? '' : readFileSync(machine, 'utf8').trim();
  return `derived-${createHash('sha256').update(`${host}\n${dataDirectory}`).digest('hex').slice(0, 32)}`;
};

const identityOf = (variables: Variables, dataDirectory: string): ServerIdentity =>
  serverIdentitySchema.parse({
    uuid: variables.server_uuid || variables.server_uid || derivedUuid(dataDirectory),
    dataDirectory,
    flavour: flavourOf(variables),
    series: /^\d+\.\d+/.exec(variables.version ?? '')?.[0] ?? '',
    pageSize: Number(variables.innodb_page_size),
  });

const sameDirectory = (one: string, other: string): boolean => {
  try {
    const [a, b] = [statSync(one), statSync(other)];
    return a.dev === b.dev && a.ino === b.ino;
  } catch {
    return false;
  }
};

/** The directory the server says it uses, once it is known to be the one the cluster file names. */
const checkedDataDirectory = (variables: Variables, config: ServerConfig): string => {
  const actual = resolve(variables.datadir || '/');
  if (!sameDirectory(actual, config.dataDirectory))
    throw new RedoubtError(
      'DataDirectoryMismatch',
      `the server at ${config.socket} uses ${actual}, the cluster file says ${config.dataDirectory}`,
    );
  return actual;
};

/** Computed within one statement, so it is the same at every call while the server runs, even if its clock is set. */
const startedAt = async (connection: ServerConnection, flavour: ServerIdentity['flavour']): Promise<number> => {
  const [row] = await connection.query(
    flavour === 'mariadb'
      ? "SELECT UNIX_TIMESTAMP() - VARIABLE_VALUE AS started FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'UPTIME'"
      : "SELECT UNIX_TIMESTAMP() - VARIABLE_VALUE AS started FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Uptime'",
  );
  return Math.round(Number(row?.started));
};

const processId = (variables: Variables, dataDirectory: string): number | undefined => {
  try {
    const pid = Number(readFileSync(resolve(dataDirectory, variables.pid_file ?? ''), 'utf8').trim());
    return Number.isInteger(pid) && pid > 0 && existsSync(`/proc/${pid}`) ? pid : undefined;
  } catch {
    return undefined;
  }
};

const newestLsn = async (connection: ServerConnection): Promise<Lsn> => {
  const [row] = await connection.query('SHOW ENGINE INNODB STATUS');
  const found = parseLsn(/^Log sequence number\s+(\d+)/m.exec(row?.Status ?? '')?.[1] ?? '');
  if (found === undefined)
    throw new RedoubtError('Unexpected', 'SHOW ENGINE INNODB STATUS names no log sequence number');
  return found;
};

const binlogOf = async (
  connection: ServerConnection,
  variables: Variables,
  identity: ServerIdentity,
): Promise<BinlogPosition | undefined> => {
  if (variables.log_bin !== 'ON') return undefined;
  const [major = 0, minor = 0] = identity.series.split('.').map(Number);
  const renamed = identity.flavour !== 'mariadb' && (major > 8 || (major === 8 && minor >= 4));
  const [row] = await connection.query(renamed ? 'SHOW BINARY LOG STATUS' : 'SHOW MASTER STATUS');
  if (!row?.File || !row.Position) return undefined;
  const gtid = identity.flavour === 'mariadb' ? variables.gtid_binlog_pos : row.Executed_Gtid_Set?.replaceAll('\n', '');
  return { file: row.File, position: row.Position, ...(gtid ? { gtid } : {}) };
};

const executedGtids = (variables: Variables, flavour: ServerIdentity['flavour']): string => {
  if (flavour !== 'mariadb') return (variables.gtid_executed ?? '').replaceAll('\n', '');
  const state = variables.gtid_binlog_state ?? '';
  // A replica that logs what it applies has it all in its binlog state, by server; otherwise the position is all there is.
  return variables.log_bin === 'ON' && variables.log_slave_updates === 'ON'
    ? state
    : `${state}|${variables.gtid_slave_pos ?? ''}`;
};

/**
 * Looks at the server behind `connection`. Throws `DataDirectoryMismatch` unless its data directory is the one of the cluster
 * file: the engine only warns and copies another one (recorded: 73). Needs PROCESS, and BINLOG MONITOR where there is a binary log.
 */
export const probeServer = async (connection: ServerConnection, config: ServerConfig): Promise<ServerFacts> => {
  const variables = await variablesOf(connection);
  const dataDirectory = checkedDataDirectory(variables, config);
  const identity = identityOf(variables, dataDirectory);
  const pid = processId(variables, dataDirectory);
  const binlog = await binlogOf(connection, variables, identity);
  const { tablespaces, bytes } = await listTablespaces(connection, identity);
  return {
    identity,
    version: variables.version ?? '',
    startedAt: await startedAt(connection, identity.flavour),
    ...(pid === undefined ? {} : { pid }),
    // Last, so that everything listed above is older.
    lsn: await newestLsn(connection),
    ...(binlog === undefined ? {} : { binlog }),
    gtid: executedGtids(variables, identity.flavour),
    readOnly: (variables.read_only ?? 'OFF') !== 'OFF' || variables.super_read_only === 'ON',
    tablespaces,
    dataBytes: bytes,
    variables,
  };
};
