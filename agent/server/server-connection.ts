import { userInfo } from 'node:os';
import { type Connection, createConnection } from 'mysql2/promise';
import { type ErrorCode, RedoubtError } from '#core/errors.ts';
import type { Credentials } from '../engines/engine.ts';

export type Row = Readonly<Record<string, string | null>>;

const CONNECT_MS = 10_000;

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'ServerUnreachable',
  ECONNREFUSED: 'ServerUnreachable',
  ECONNRESET: 'ServerUnreachable',
  EPIPE: 'ServerUnreachable',
  ETIMEDOUT: 'ServerUnreachable',
  PROTOCOL_CONNECTION_LOST: 'ServerUnreachable',
  ER_CON_COUNT_ERROR: 'ServerUnreachable',
  ER_SERVER_SHUTDOWN: 'ServerUnreachable',
  ER_ACCESS_DENIED_ERROR: 'ServerAccessDenied',
  ER_ACCESS_DENIED_NO_PASSWORD_ERROR: 'ServerAccessDenied',
  ER_ACCOUNT_HAS_BEEN_LOCKED: 'ServerAccessDenied',
  ER_MUST_CHANGE_PASSWORD: 'ServerAccessDenied',
  ER_MUST_CHANGE_PASSWORD_LOGIN: 'ServerAccessDenied',
  ER_SPECIFIC_ACCESS_DENIED_ERROR: 'PrivilegesMissing',
  ER_TABLEACCESS_DENIED_ERROR: 'PrivilegesMissing',
  ER_DBACCESS_DENIED_ERROR: 'PrivilegesMissing',
};

const SERVER_SAYS = /^ER_/;

/** The server's own code of what went wrong: `ER_NO_SUCH_TABLE`; of the cause, where it is one of our errors. */
export const serverErrorCode = (error: unknown): string | undefined => {
  const cause = error instanceof RedoubtError ? error.cause : error;
  const code = (cause as { readonly code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
};

const named = (error: unknown, what: string): RedoubtError => {
  if (error instanceof RedoubtError) return error;
  const code = serverErrorCode(error) ?? '';
  const message = error instanceof Error ? error.message : String(error);
  // The driver words a lost connection in many ways.
  const lost = !SERVER_SAYS.test(code) && /closed|lost|timed? ?out/i.test(message);
  return new RedoubtError(CODES[code] ?? (lost ? 'ServerUnreachable' : 'Unexpected'), `${what}: ${message}`, {
    cause: error,
  });
};

/** One session at the server's socket. Every value arrives as text: an LSN has 64 bits. */
export class ServerConnection implements AsyncDisposable {
  readonly #connection: Connection;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Throws `ServerUnreachable` or `ServerAccessDenied`. Without a user, the one of the operating system. */
  static async open(socket: string, credentials: Credentials): Promise<ServerConnection> {
    const user = credentials.user ?? userInfo().username;
    try {
      const connection = await createConnection({
        socketPath: socket,
        user,
        ...(credentials.password === undefined ? {} : { password: credentials.password }),
        connectTimeout: CONNECT_MS,
        charset: 'UTF8MB4_GENERAL_CI',
        // Who one is at a socket is the kernel's word: there is nothing to send.
        authPlugins: { auth_socket: () => () => Buffer.alloc(0), unix_socket: () => () => Buffer.alloc(0) },
        typeCast: (field) => field.string(),
      });
      // The end of an idle connection is told to the next query.
      connection.on('error', () => {});
      return new ServerConnection(connection);
    } catch (error) {
      throw named(error, `${user} at ${socket}`);
    }
  }

  /** Rows by column name; none where the statement returns none. Errors carry their server code in `cause`. */
  async query(sql: string, values: readonly string[] = []): Promise<readonly Row[]> {
    try {
      const [rows] = await this.#connection.query(sql, [...values]);
      return Array.isArray(rows) ? (rows as Row[]) : [];
    } catch (error) {
      throw named(error, sql.replaceAll(/\s+/g, ' ').slice(0, 120));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#connection.end();
    } catch {
      this.#connection.destroy();
    }
  }
}
