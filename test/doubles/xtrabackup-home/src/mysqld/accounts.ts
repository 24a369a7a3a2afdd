import { passwordHash } from '../wire/packets.ts';
import { type Login, SqlError } from '../wire/server-session.ts';
import type { Database } from './database.ts';
import type { Table } from './table.ts';

interface Grant {
  readonly privileges: readonly string[];
  /** `*.*`, `redoubt.*`, `performance_schema.log_status`. */
  readonly on: string;
}

export interface Account {
  readonly user: string;
  readonly host: string;
  readonly hash: string;
  readonly grants: readonly Grant[];
}

const ALL = 'ALL PRIVILEGES';

const column = (name: string) => ({ name, type: 'text', nullable: true, fallback: undefined, auto: false });

const covers = (on: string, database: string, table: string): boolean =>
  on === '*.*' ||
  on.toLowerCase() === `${database}.*`.toLowerCase() ||
  on.toLowerCase() === `${database}.${table}`.toLowerCase();

/** Users and what they may do, in `mysql.user`. */
export class Accounts {
  readonly #table: Table;

  constructor(database: Database) {
    this.#table = database.hasTable('mysql', 'user')
      ? database.table('mysql', 'user')
      : database.createTable('mysql', 'user', {
          columns: ['User', 'Host', 'authentication_string', 'grants'].map(column),
          primary: ['User', 'Host'],
          options: { ENGINE: 'MyISAM' },
        });
    if (this.#table.size === 0) {
      this.create('root', 'localhost', '');
      this.grant('root', 'localhost', [ALL], '*.*');
    }
  }

  all(): readonly Account[] {
    return this.#table.values().map(([user, host, hash, grants]) => ({
      user: String(user),
      host: String(host),
      hash: String(hash),
      grants: JSON.parse(String(grants)) as Grant[],
    }));
  }

  login(login: Login): Account {
    const account = this.all().find(({ user }) => user === login.user);
    if (account && login.knows(account.hash)) return account;
    throw new SqlError(
      1045,
      '28000',
      `Access denied for user '${login.user}'@'localhost' (using password: ${login.withPassword ? 'YES' : 'NO'})`,
    );
  }

  find(user: string): Account | undefined {
    return this.all().find((account) => account.user === user);
  }

  create(user: string, host: string, password: string): void {
    if (this.find(user)) throw new SqlError(1396, 'HY000', `Operation CREATE USER failed for '${user}'@'${host}'`);
    this.#table.insert([[user, host, passwordHash(password), '[]']], 'insert');
  }

  setPassword(user: string, password: string): void {
    this.#table.update((values) =>
      values[0] === user ? [values[0], values[1] ?? null, passwordHash(password), values[3] ?? null] : undefined,
    );
  }

  drop(user: string): void {
    this.#table.remove(([name]) => name === user);
  }

  grant(user: string, host: string, privileges: readonly string[], on: string): void {
    if (!this.find(user)) this.create(user, host, '');
    this.#change(user, (grants) => {
      const same = grants.find((grant) => grant.on === on);
      return [
        ...grants.filter((grant) => grant !== same),
        { on, privileges: [...new Set([...(same?.privileges ?? []), ...privileges])] },
      ];
    });
  }

  revoke(user: string, privileges: readonly string[], on: string): void {
    this.#change(user, (grants) =>
      grants.map((grant) =>
        grant.on === on || on === '*'
          ? {
              on: grant.on,
              privileges: grant.privileges.filter((held) => !privileges.includes(held) && !privileges.includes(ALL)),
            }
          : grant,
      ),
    );
  }

  /** Whether the account holds one of `anyOf` there. */
  may(account: Account, anyOf: readonly string[], database = '*', table = '*'): boolean {
    const current = this.find(account.user);
    return (
      current?.grants.some(
        ({ privileges, on }) =>
          covers(on, database, table) && (privileges.includes(ALL) || anyOf.some((one) => privileges.includes(one))),
      ) ?? false
    );
  }

  /** As `SHOW GRANTS` prints them. */
  statements(account: Account): readonly string[] {
    const current = this.find(account.user);
    const quoted = `'${account.user}'@'${account.host}'`;
    const global = current?.grants.find(({ on, privileges }) => on === '*.*' && privileges.length > 0);
    return [
      `GRANT ${global ? global.privileges.join(', ') : 'USAGE'} ON *.* TO ${quoted}${global?.privileges.includes(ALL) ? ' WITH GRANT OPTION' : ''}`,
      ...(current?.grants ?? [])
        .filter(({ on, privileges }) => on !== '*.*' && privileges.length > 0)
        .map(({ on, privileges }) => {
          const [database, table] = on.split('.') as [string, string];
          return `GRANT ${privileges.join(', ')} ON \`${database}\`.${table === '*' ? '*' : `\`${table}\``} TO ${quoted}`;
        }),
    ];
  }

  #change(user: string, change: (grants: readonly Grant[]) => readonly Grant[]): void {
    this.#table.update((values) =>
      values[0] === user
        ? [
            values[0],
            values[1] ?? null,
            values[2] ?? null,
            JSON.stringify(change(JSON.parse(String(values[3])) as Grant[])),
          ]
        : undefined,
    );
  }
}
