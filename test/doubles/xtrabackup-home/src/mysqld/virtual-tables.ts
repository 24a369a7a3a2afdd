import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isEncrypted } from '../../../page-store/dictionary.ts';
import type { Value } from '../wire/server-session.ts';
import { isInnodb, wantsEncryption } from './database.ts';
import type { Relation } from './run-select.ts';
import type { Server } from './server.ts';

type Rows = readonly Readonly<Record<string, Value>>[];

const relation = (names: readonly string[], rows: Rows): Relation => ({
  columns: names.map((name) => ({ name, numeric: rows.some((row) => typeof row[name] === 'number') })),
  rows: rows.map((row) => names.map((name) => row[name] ?? null)),
});

const fileBytes = (server: Server, path: string): number => {
  const whole = join(server.dataDirectory, path);
  return existsSync(whole) ? statSync(whole).size : 0;
};

const tablespaces = (server: Server): Relation => {
  const { modern } = server.version;
  const rows = server.database.entries().map((entry) => ({
    SPACE: entry.space,
    NAME: entry.name,
    FLAG: entry.flags,
    FILE_FORMAT: 'Barracuda',
    ROW_FORMAT: 'Dynamic',
    PAGE_SIZE: 16_384,
    ZIP_PAGE_SIZE: 0,
    SPACE_TYPE: 'Single',
    FS_BLOCK_SIZE: 4096,
    FILE_SIZE: fileBytes(server, `${entry.name}.ibd`),
    ALLOCATED_SIZE: fileBytes(server, `${entry.name}.ibd`),
    ...(modern
      ? {
          SERVER_VERSION: server.version.version,
          SPACE_VERSION: 1,
          ENCRYPTION: isEncrypted(entry) ? 'Y' : 'N',
          STATE: 'normal',
        }
      : {}),
  }));
  return relation(
    [
      'SPACE',
      'NAME',
      'FLAG',
      ...(modern ? [] : ['FILE_FORMAT']),
      'ROW_FORMAT',
      'PAGE_SIZE',
      'ZIP_PAGE_SIZE',
      'SPACE_TYPE',
      'FS_BLOCK_SIZE',
      'FILE_SIZE',
      'ALLOCATED_SIZE',
      ...(modern ? ['SERVER_VERSION', 'SPACE_VERSION', 'ENCRYPTION', 'STATE'] : []),
    ],
    rows,
  );
};

const dataFiles = (server: Server): Relation =>
  relation(
    ['SPACE', 'PATH'],
    server.database.entries().map(({ space, name }) => ({ SPACE: space, PATH: `./${name}.ibd` })),
  );

const innodbTables = (server: Server): Relation =>
  relation(
    ['TABLE_ID', 'NAME', 'FLAG', 'SPACE'],
    server.database
      .entries()
      .map(({ space, name, flags }) => ({ TABLE_ID: space + 20, NAME: name, FLAG: flags, SPACE: space })),
  );

const tables = (server: Server): Relation =>
  relation(
    [
      'TABLE_CATALOG',
      'TABLE_SCHEMA',
      'TABLE_NAME',
      'TABLE_TYPE',
      'ENGINE',
      'VERSION',
      'ROW_FORMAT',
      'TABLE_ROWS',
      'AUTO_INCREMENT',
      'CREATE_OPTIONS',
    ],
    server.database.databases().flatMap((database) =>
      server.database.tables(database).map((table) => {
        const definition = server.database.definition(database, table);
        return {
          TABLE_CATALOG: 'def',
          TABLE_SCHEMA: database,
          TABLE_NAME: table,
          TABLE_TYPE: 'BASE TABLE',
          ENGINE: isInnodb(definition) ? 'InnoDB' : 'MyISAM',
          VERSION: 10,
          ROW_FORMAT: 'Dynamic',
          TABLE_ROWS: 0,
          AUTO_INCREMENT: null,
          CREATE_OPTIONS: wantsEncryption(definition) ? 'ENCRYPTION="Y"' : '',
        };
      }),
    ),
  );

const columns = (server: Server): Relation =>
  relation(
    ['TABLE_SCHEMA', 'TABLE_NAME', 'COLUMN_NAME', 'ORDINAL_POSITION', 'COLUMN_TYPE', 'IS_NULLABLE'],
    server.database.databases().flatMap((database) =>
      server.database.tables(database).flatMap((table) =>
        server.database.definition(database, table).columns.map((column, place) => ({
          TABLE_SCHEMA: database,
          TABLE_NAME: table,
          COLUMN_NAME: column.name,
          ORDINAL_POSITION: place + 1,
          COLUMN_TYPE: column.type,
          IS_NULLABLE: column.nullable ? 'YES' : 'NO',
        })),
      ),
    ),
  );

export const statusOf = (server: Server): Readonly<Record<string, Value>> => ({
  Uptime: Math.floor(Date.now() / 1000) - server.startedAt,
  Threads_connected: server.sessions.size,
  Slave_open_temp_tables: 0,
  Innodb_buffer_pool_pages_dirty: server.store.dirtyPages,
  Innodb_os_log_written: server.store.lsn,
  Rsa_public_key: '',
});

const nameAndValue = (names: readonly [string, string], values: Iterable<readonly [string, Value]>): Relation =>
  relation(
    names,
    Array.from(values, ([name, value]) => ({ [names[0]]: name, [names[1]]: value === null ? null : String(value) })),
  );

export const processList = (server: Server): Relation =>
  relation(
    ['ID', 'USER', 'HOST', 'DB', 'COMMAND', 'TIME', 'STATE', 'INFO'],
    [...server.sessions.values()].map((session) => ({
      ID: session.id,
      USER: session.user,
      HOST: 'localhost',
      DB: session.database,
      COMMAND: session.sql === undefined ? 'Sleep' : 'Query',
      TIME: Math.floor((Date.now() - session.since) / 1000),
      STATE: '',
      INFO: session.sql ?? null,
    })),
  );

const PLUGINS: Rows = [
  { PLUGIN_NAME: 'InnoDB', PLUGIN_STATUS: 'ACTIVE', PLUGIN_TYPE: 'STORAGE ENGINE', PLUGIN_LIBRARY: null },
  { PLUGIN_NAME: 'MyISAM', PLUGIN_STATUS: 'ACTIVE', PLUGIN_TYPE: 'STORAGE ENGINE', PLUGIN_LIBRARY: null },
];

const plugins = (server: Server): Relation =>
  relation(
    ['PLUGIN_NAME', 'PLUGIN_STATUS', 'PLUGIN_TYPE', 'PLUGIN_LIBRARY'],
    server.keyring.usable && !server.version.modern
      ? [
          ...PLUGINS,
          {
            PLUGIN_NAME: 'keyring_file',
            PLUGIN_STATUS: 'ACTIVE',
            PLUGIN_TYPE: 'KEYRING',
            PLUGIN_LIBRARY: 'keyring_file.so',
          },
        ]
      : PLUGINS,
  );

const componentStatus = (server: Server): Relation => {
  const file = server.version.modern && existsSync(join(server.dataDirectory, 'component_keyring_file.cnf'));
  return nameAndValue(
    ['STATUS_KEY', 'STATUS_VALUE'],
    file
      ? [
          ['Component_name', 'component_keyring_file'],
          ['Author', 'Oracle Corporation'],
          ['License', 'GPL'],
          ['Implementation_name', 'component_keyring_file'],
          ['Version', '1.0'],
          ['Component_status', server.keyring.usable ? 'Active' : 'Disabled'],
          ['Data_file', JSON.parse('""') as string],
          ['Read_only', 'No'],
        ]
      : [],
  );
};

const logStatus = (server: Server): Relation =>
  relation(
    ['SERVER_UUID', 'LOCAL', 'REPLICATION', 'STORAGE_ENGINES'],
    [
      {
        SERVER_UUID: server.uuid,
        LOCAL: JSON.stringify({
          gtid_executed: server.binlog?.executedGtids ?? '',
          binary_log_file: server.binlog?.file ?? '',
          binary_log_position: server.binlog?.position ?? 0,
        }),
        REPLICATION: JSON.stringify({ channels: [] }),
        STORAGE_ENGINES: JSON.stringify({
          InnoDB: { LSN: server.store.lsn, LSN_checkpoint: server.store.checkpointLsn },
        }),
      },
    ],
  );

type Maker = (server: Server) => Relation;

/** Those that only a user with PROCESS may read. */
export const NEEDS_PROCESS = /^innodb_/i;

const INFORMATION_SCHEMA: Readonly<Record<string, Maker>> = {
  tables,
  columns,
  processlist: processList,
  plugins,
  schemata: (server) =>
    relation(
      ['SCHEMA_NAME'],
      server.database.databases().map((name) => ({ SCHEMA_NAME: name })),
    ),
  engines: () =>
    relation(
      ['ENGINE', 'SUPPORT'],
      [
        { ENGINE: 'InnoDB', SUPPORT: 'DEFAULT' },
        { ENGINE: 'MyISAM', SUPPORT: 'YES' },
      ],
    ),
};

const OLD_NAMES: Readonly<Record<string, Maker>> = {
  innodb_sys_tablespaces: tablespaces,
  innodb_sys_datafiles: dataFiles,
  innodb_sys_tables: innodbTables,
};

const NEW_NAMES: Readonly<Record<string, Maker>> = {
  innodb_tablespaces: tablespaces,
  innodb_datafiles: dataFiles,
  innodb_tables: innodbTables,
};

const PERFORMANCE_SCHEMA: Readonly<Record<string, Maker>> = {
  global_status: (server) => nameAndValue(['VARIABLE_NAME', 'VARIABLE_VALUE'], Object.entries(statusOf(server))),
  global_variables: (server) => nameAndValue(['VARIABLE_NAME', 'VARIABLE_VALUE'], server.variables),
};

const NEW_PERFORMANCE_SCHEMA: Readonly<Record<string, Maker>> = {
  keyring_component_status: componentStatus,
  log_status: logStatus,
  replication_group_members: () => relation(['CHANNEL_NAME', 'MEMBER_ID'], []),
};

/** A table that is not one; `undefined` where there is none of that name. */
export const virtualTable = (server: Server, database: string, table: string): Relation | undefined => {
  const { modern } = server.version;
  const name = table.toLowerCase();
  const makers =
    database.toLowerCase() === 'information_schema'
      ? { ...INFORMATION_SCHEMA, ...(modern ? NEW_NAMES : OLD_NAMES) }
      : database.toLowerCase() === 'performance_schema'
        ? { ...PERFORMANCE_SCHEMA, ...(modern ? NEW_PERFORMANCE_SCHEMA : {}) }
        : {};
  return makers[name]?.(server);
};
