import { statSync } from 'node:fs';
import { userInfo } from 'node:os';
import { Client, ClientError, type ClientRow } from '../wire/client.ts';
import { Exit, tell } from './console.ts';
import type { Options } from './options.ts';

/** The connection a backup holds. A query that fails ends the program, as it does in the original. */
export class ServerConnection {
  readonly #client: Client;
  readonly variables: ReadonlyMap<string, string>;

  private constructor(client: Client, variables: ReadonlyMap<string, string>) {
    this.#client = client;
    this.variables = variables;
  }

  static async open(options: Options): Promise<ServerConnection> {
    const host = options.get('host');
    const user = options.get('user') ?? userInfo().username;
    const password = options.get('password') ?? process.env.MYSQL_PWD;
    const port = options.get('port');
    const socket = options.get('socket') ?? '/tmp/mysql.sock';
    tell.timed(
      `Connecting to MySQL server host: ${host ?? 'localhost'}, user: ${options.has('user') ? user : 'not set'}, password: ${password === undefined ? 'not set' : 'set'}, port: ${host === undefined || port === undefined ? 'not set' : port}, socket: ${options.has('socket') ? socket : 'not set'}`,
    );
    let client: Client;
    try {
      client = await Client.connect({
        ...(host === undefined || host === 'localhost' ? { socket } : { host, port: Number(port ?? 3306) }),
        user,
        password: password ?? '',
      });
    } catch (error) {
      tell.bare(`Failed to connect to MySQL server: ${(error as Error).message}.`);
      throw new Exit(1);
    }
    const rows = (await client.query('SHOW VARIABLES')).rows;
    return new ServerConnection(
      client,
      new Map(rows.map(({ Variable_name, Value }) => [Variable_name ?? '', Value ?? ''])),
    );
  }

  variable(name: string): string {
    return this.variables.get(name) ?? '';
  }

  async query(sql: string): Promise<readonly ClientRow[]> {
    try {
      return (await this.#client.query(sql)).rows;
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      tell.bare(
        `Error: failed to execute query ${sql}: ${error.number === 2013 ? 'MySQL server has gone away' : error.message}`,
      );
      throw new Exit(1);
    }
  }

  /** Like `query`, but a failure is only told. */
  async tryQuery(sql: string): Promise<readonly ClientRow[]> {
    try {
      return await this.query(sql);
    } catch (error) {
      if (error instanceof Exit) return [];
      throw error;
    }
  }

  /** Nobody is told where it fails. */
  async attempt(sql: string): Promise<void> {
    await this.#client.query(sql).catch(() => undefined);
  }

  close(): void {
    this.#client.close();
  }
}

const same = (one: string, other: string): boolean => {
  try {
    const [a, b] = [statSync(one), statSync(other)];
    return a.dev === b.dev && a.ino === b.ino;
  } catch {
    return one.replace(/\/+$/, '') === other.replace(/\/+$/, '');
  }
};

/** The directory that is backed up: the one of the options, even where the server has another. */
export const dataDirectory = (options: Options, connection: ServerConnection): string => {
  const live = connection.variable('datadir');
  const given = options.get('datadir');
  if (given === undefined) return live;
  for (const [path, what] of [
    [given, 'option'],
    [live, 'MySQL variable'],
  ] as const) {
    try {
      statSync(path);
    } catch {
      tell.bare(`Can not open directory ${path}: No such file or directory`);
      tell.bare(`Warning: ${what} 'datadir' points to nonexistent directory '${path}'`);
    }
  }
  if (!same(given, live)) {
    tell.bare("Warning: option 'datadir' has different values:");
    tell.bare(`  '${given}' in ${options.datadirSource ?? 'defaults file'}`);
    tell.bare(`  '${live}' in SHOW VARIABLES`);
  }
  return given;
};
