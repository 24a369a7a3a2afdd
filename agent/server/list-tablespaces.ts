import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { ServerConnection } from './server-connection.ts';
import type { Tablespace } from './server-facts.ts';
import { relativePath } from './tablespace-path.ts';

export interface TablespaceList {
  readonly tablespaces: readonly Tablespace[];
  readonly bytes: number;
}

/**
 * The files InnoDB has in the data directory. A table in the dictionary without one was discarded by somebody; a `.isl` stands for a
 * file elsewhere (`DATA DIRECTORY`), which a backup holds as if it lay here.
 */
const tableFiles = (dataDirectory: string): ReadonlySet<string> => {
  const files = new Set<string>();
  for (const schema of readdirSync(dataDirectory, { withFileTypes: true })) {
    if (!schema.isDirectory() && !schema.isSymbolicLink()) continue;
    let names: readonly string[];
    try {
      names = readdirSync(join(dataDirectory, schema.name));
    } catch {
      // Not a schema: a link to nowhere, or lost+found.
      continue;
    }
    for (const name of names) {
      if (name.endsWith('.ibd')) files.add(`${schema.name}/${name}`);
      else if (name.endsWith('.isl')) files.add(`${schema.name}/${name.slice(0, -4)}.ibd`);
    }
  }
  return files;
};

const number = (text: string | null | undefined): number => Number(text ?? 0);

/**
 * MariaDB: INNODB_SYS_TABLES is the dictionary itself. INNODB_SYS_TABLESPACES is not enough: after a restart it only lists what was opened
 * since (10.11.19: 245 of 323). There are no general tablespaces, so a name is a path.
 */
const ofMariadb = async (connection: ServerConnection, dataDirectory: string): Promise<TablespaceList> => {
  const tables = await connection.query(
    "SELECT NAME, SPACE FROM information_schema.INNODB_SYS_TABLES WHERE SPACE <> 0 AND NAME LIKE '%/%'",
  );
  const opened = await connection.query(
    'SELECT SPACE, NAME, FILENAME, FILE_SIZE FROM information_schema.INNODB_SYS_TABLESPACES',
  );
  const encrypted = new Set(
    (
      await connection.query(
        'SELECT SPACE FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE ENCRYPTION_SCHEME <> 0',
      )
    ).map(({ SPACE }) => SPACE),
  );
  const files = tableFiles(dataDirectory);
  const tablespaces = tables.flatMap(({ NAME, SPACE }): readonly Tablespace[] => {
    const path = `${NAME}.ibd`;
    return files.has(path)
      ? [{ name: NAME ?? '', path, spaceId: number(SPACE), encrypted: encrypted.has(SPACE ?? null) }]
      : [];
  });
  const system = opened
    .filter(({ FILENAME }) => /(^|\/)(ibdata\d+|undo\d+)$/.test(FILENAME ?? ''))
    .map(
      ({ NAME, SPACE, FILENAME }): Tablespace => ({
        name: NAME ?? '',
        path: basename(FILENAME ?? ''),
        spaceId: number(SPACE),
        encrypted: encrypted.has(SPACE ?? null),
      }),
    );
  return {
    tablespaces: [...system, ...tablespaces],
    bytes: opened
      .filter(({ NAME }) => NAME !== 'innodb_temporary')
      .reduce((sum, { FILE_SIZE }) => sum + number(FILE_SIZE), 0),
  };
};

/** The path a file outside the data directory has in a backup: its schema and name, or its name where it belongs to no schema. */
const backupPath = (path: string, name: string, dataDirectory: string): string => {
  if (!path.startsWith('/')) return relativePath(path);
  if (path.startsWith(`${dataDirectory}/`)) return path.slice(dataDirectory.length + 1);
  return name.includes('/') ? `${basename(dirname(path))}/${basename(path)}` : basename(path);
};

/** MySQL 5.7 and 8: a table of spaces and a table of paths, under names that changed with 8.0. Recorded nowhere; from the manuals. */
const ofMysql = async (
  connection: ServerConnection,
  dataDirectory: string,
  series: string,
): Promise<TablespaceList> => {
  const prefix = series.startsWith('5.') ? 'INNODB_SYS_' : 'INNODB_';
  const encryption = series.startsWith('5.')
    ? // Flag bit 13: the tablespace is encrypted.
      "IF(s.FLAG & 8192, 'Y', 'N')"
    : 's.ENCRYPTION';
  const rows = await connection.query(
    `SELECT s.SPACE, s.NAME, d.PATH, s.FILE_SIZE, ${encryption} AS ENCRYPTED
       FROM information_schema.${prefix}TABLESPACES s JOIN information_schema.${prefix}DATAFILES d ON d.SPACE = s.SPACE`,
  );
  return {
    tablespaces: rows
      .filter(({ NAME, PATH }) => NAME !== 'innodb_temporary' && PATH)
      .map(({ SPACE, NAME, PATH, ENCRYPTED }): Tablespace => {
        const path = backupPath(PATH ?? '', NAME ?? '', dataDirectory);
        return { name: NAME ?? '', path, spaceId: number(SPACE), encrypted: ENCRYPTED === 'Y' };
      })
      .filter(({ path, name }) => !name.includes('/') || existsSync(join(dataDirectory, path)) || !path.includes('/')),
    bytes: rows.reduce((sum, { FILE_SIZE }) => sum + number(FILE_SIZE), 0),
  };
};

/** Every InnoDB tablespace the server knows and has a file of, with the path its file has in a backup. Needs PROCESS. */
export const listTablespaces = (
  connection: ServerConnection,
  server: {
    readonly flavour: 'mariadb' | 'mysql' | 'percona';
    readonly series: string;
    readonly dataDirectory: string;
  },
): Promise<TablespaceList> =>
  server.flavour === 'mariadb'
    ? ofMariadb(connection, server.dataDirectory)
    : ofMysql(connection, server.dataDirectory, server.series);
