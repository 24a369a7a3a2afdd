import { type Login, type Result, type SessionHandler, SqlError, type Value } from '../wire/server-session.ts';
import type { Account } from './accounts.ts';
import { isInnodb } from './database.ts';
import { type QueryContext, type Relation, runSelect, tableScope } from './run-select.ts';
import type { RunningQuery, Server } from './server.ts';
import { compare, evaluate, truthy } from './sql-evaluate.ts';
import { DEFAULT, parseStatement, type Statement, type TableDefinition, type TableName } from './sql-parser.ts';
import { NEEDS_PROCESS, processList, statusOf, virtualTable } from './virtual-tables.ts';

const DONE: Result = { kind: 'done', affected: 0, insertId: 0 };

const rowsOf = (names: readonly string[], rows: readonly (readonly Value[])[]): Result => ({
  kind: 'rows',
  columns: names.map((name, place) => ({
    name,
    numeric: rows.length > 0 && rows.every((row) => typeof row[place] === 'number'),
  })),
  rows,
});

const asResult = (relation: Relation): Result => ({ kind: 'rows', columns: relation.columns, rows: relation.rows });

const denied = (privileges: string): SqlError =>
  new SqlError(
    1227,
    '42000',
    `Access denied; you need (at least one of) the ${privileges} privilege(s) for this operation`,
  );

const nameValue = (values: Iterable<readonly [string, Value]>): Relation => ({
  columns: ['Variable_name', 'Value'].map((name) => ({ name, numeric: false })),
  rows: Array.from(values, ([name, value]): readonly Value[] => [name, value === null ? null : String(value)]).sort(
    (a, b) => (String(a[0]) < String(b[0]) ? -1 : 1),
  ),
});

const unquote = (text: string): string =>
  text
    .replace(/^(['"`])([\s\S]*)\1$/, '$2')
    .replaceAll("''", "'")
    .replaceAll(/\\(['"\\])/g, '$1');

const accountName = (text: string): { readonly user: string; readonly host: string } => {
  const [user, host] = text.split('@');
  return { user: unquote(user ?? ''), host: unquote(host ?? "'%'") };
};

const WRITES: ReadonlySet<Statement['kind']> = new Set(['insert', 'update', 'delete']);

/** One connection. */
export class Session implements SessionHandler, RunningQuery {
  readonly id: number;
  readonly version: string;
  readonly #server: Server;
  #account: Account | undefined;
  readonly #variables = new Map<string, Value>();
  readonly #close: () => void;
  database: string | null = null;
  sql: string | undefined;
  since = Date.now();
  #lastInsertId = 0;
  #killed: (() => void) | undefined;
  /** What an open transaction is to change: it is all made at its commit. */
  #pending: { readonly sql: string; readonly statement: Statement }[] | undefined;

  constructor(server: Server, id: number, close: () => void) {
    this.#server = server;
    this.id = id;
    this.#close = close;
    this.version = server.version.version;
    server.sessions.set(id, this);
  }

  get user(): string {
    return this.#account?.user ?? 'unauthenticated user';
  }

  kill(): void {
    this.#killed?.();
    this.#close();
  }

  login(login: Login): void {
    this.#account = this.#server.accounts.login(login);
  }

  useDatabase(name: string): void {
    if (!this.#server.database.hasDatabase(name) && !/^(information|performance)_schema$/i.test(name))
      throw new SqlError(1049, '42000', `Unknown database '${name}'`);
    this.database = name;
  }

  shutdown(): void {
    this.#server.shutdown();
  }

  closed(): void {
    this.#server.unlock(this.id);
    this.#server.sessions.delete(this.id);
  }

  async query(text: string): Promise<Result> {
    const sql = text
      .replaceAll(/^\s*(\/\*(?!!)[\s\S]*?\*\/\s*)*/g, '')
      .replace(/;\s*$/, '')
      .trim();
    this.sql = sql;
    this.since = Date.now();
    try {
      return (await this.#administer(sql)) ?? (await this.#run(sql));
    } finally {
      this.sql = undefined;
      this.since = Date.now();
    }
  }

  // -- statements that are no data

  async #administer(sql: string): Promise<Result | undefined> {
    const server = this.#server;
    if (/^(BEGIN|START\s+TRANSACTION)\b/i.test(sql)) {
      await this.#commit();
      this.#pending = [];
      return DONE;
    }
    if (/^COMMIT\b/i.test(sql)) {
      await this.#commit();
      return DONE;
    }
    if (/^ROLLBACK\b/i.test(sql)) {
      this.#pending = undefined;
      return DONE;
    }
    if (/^SET\b/i.test(sql)) return this.#set(sql.slice(3).trim());
    if (/^USE\s/i.test(sql)) {
      this.useDatabase(unquote(sql.slice(4).trim()));
      return DONE;
    }
    if (/^SHOW\b/i.test(sql)) return this.#show(sql.slice(4).trim());
    if (/^FLUSH\b/i.test(sql)) return this.#flush(sql);
    if (/^UNLOCK\s+TABLES/i.test(sql)) {
      server.unlock(this.id);
      return DONE;
    }
    if (
      /^LOCK\s+INSTANCE\s+FOR\s+BACKUP|^UNLOCK\s+INSTANCE|^LOCK\s+TABLES\s+FOR\s+BACKUP/i.test(sql) &&
      server.version.modern
    ) {
      this.#need(['BACKUP_ADMIN']);
      return DONE;
    }
    if (/^ALTER\s+INSTANCE\s+ROTATE\s+INNODB\s+MASTER\s+KEY/i.test(sql)) {
      this.#need(['SUPER']);
      await server.waitUntilWritable(this.id);
      server.database.rotateMasterKey();
      server.noteChange(sql, true);
      return DONE;
    }
    const kill = /^KILL\s+(?:CONNECTION\s+|QUERY\s+)?(\d+)/i.exec(sql);
    if (kill) {
      const victim = server.sessions.get(Number(kill[1]));
      if (!victim) throw new SqlError(1094, 'HY000', `Unknown thread id: ${kill[1]}`);
      if (victim.user !== this.user && !this.#may(['SUPER', 'CONNECTION_ADMIN']))
        throw new SqlError(1095, 'HY000', `You are not owner of thread ${kill[1]}`);
      victim.kill();
      return DONE;
    }
    if (/^SHUTDOWN\b/i.test(sql)) {
      server.shutdown();
      return DONE;
    }
    if (/^RESET\s+(MASTER|BINARY\s+LOGS\s+AND\s+GTIDS)/i.test(sql)) {
      server.binlog?.reset();
      return DONE;
    }
    if (/^CHECKSUM\s+TABLE/i.test(sql))
      return this.#checksum(sql.replace(/^CHECKSUM\s+TABLES?\s+/i, '').replace(/\s+EXTENDED$/i, ''));
    const checked = /^CHECK\s+TABLE\s+(\S+)$/i.exec(sql);
    if (checked) return this.#check(checked[1] ?? '');
    if (/^(CREATE|ALTER)\s+USER/i.test(sql)) return this.#user(sql);
    if (/^DROP\s+USER/i.test(sql)) {
      server.accounts.drop(accountName(sql.replace(/^DROP\s+USER\s+(IF\s+EXISTS\s+)?/i, '')).user);
      return DONE;
    }
    if (/^(GRANT|REVOKE)\b/i.test(sql)) return this.#grant(sql);
    if (/^(INSTALL|UNINSTALL)\s+(PLUGIN|COMPONENT)|^ANALYZE\b|^OPTIMIZE\b/i.test(sql)) return DONE;
    return undefined;
  }

  #set(text: string): Result {
    for (const part of text.split(/,(?=\s*(?:@@|global|session|local|\w+\s*=))/i)) {
      const match = /^\s*(?:@@)?(global|session|local|persist)?[\s.]*`?([\w.]+)`?\s*:?=\s*([\s\S]*)$/i.exec(part);
      if (!match) continue;
      const [, scope = '', name = '', raw = ''] = match;
      const value = /^-?\d+(\.\d+)?$/.test(raw.trim()) ? Number(raw) : unquote(raw.trim());
      const key = name.toLowerCase();
      if (/global|persist/i.test(scope)) {
        this.#need(['SUPER', 'SYSTEM_VARIABLES_ADMIN']);
        this.#server.variables.set(key, value);
        if (key === 'innodb_max_dirty_pages_pct') {
          this.#server.store.maxDirtyPercent = Number(value);
          if (Number(value) === 0) this.#server.store.checkpoint();
        }
      } else {
        if (key === 'sql_log_bin') this.#need(['SUPER', 'SESSION_VARIABLES_ADMIN', 'SYSTEM_VARIABLES_ADMIN']);
        this.#variables.set(key, value);
      }
    }
    return DONE;
  }

  async #flush(sql: string): Promise<Result> {
    const what = /^FLUSH\s+(?:(?:NO_WRITE_TO_BINLOG|LOCAL)\s+)?(.*)$/i.exec(sql)?.[1] ?? '';
    this.#need(/^TABLES/i.test(what) ? ['RELOAD', 'FLUSH_TABLES'] : ['RELOAD'], 'RELOAD');
    if (/WITH\s+READ\s+LOCK/i.test(what)) await this.#server.lock(this.id);
    else if (/^(BINARY\s+)?LOGS/i.test(what)) this.#server.binlog?.rotate();
    return DONE;
  }

  #named(text: string): readonly [database: string, table: string] {
    const [first = '', second] = text.trim().split('.').map(unquote);
    return second === undefined ? [this.#currentDatabase(), first] : [first, second];
  }

  /** Reads every row. */
  #check(name: string): Result {
    const [database, table] = this.#named(name);
    let text: readonly [type: string, text: string] = ['status', 'OK'];
    try {
      this.#server.database.table(database, table).checksum();
    } catch (error) {
      text = ['Error', (error as Error).message];
    }
    return rowsOf(['Table', 'Op', 'Msg_type', 'Msg_text'], [[`${database}.${table}`, 'check', ...text]]);
  }

  #checksum(list: string): Result {
    return rowsOf(
      ['Table', 'Checksum'],
      list.split(',').map((text) => {
        const [database, table] = this.#named(text);
        try {
          return [`${database}.${table}`, this.#server.database.table(database, table).checksum()];
        } catch {
          return [`${database}.${table}`, null];
        }
      }),
    );
  }

  #user(sql: string): Result {
    this.#need(['CREATE USER']);
    const match =
      /^(CREATE|ALTER)\s+USER\s+(IF\s+NOT\s+EXISTS\s+|IF\s+EXISTS\s+)?((?:'[^']*'|`[^`]*`|\w+)(?:@(?:'[^']*'|`[^`]*`|[\w%.]+))?)(?:\s+IDENTIFIED\s+(?:WITH\s+\S+\s+)?BY\s+('(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"))?/i.exec(
        sql,
      );
    if (!match) throw new SqlError(1064, '42000', 'You have an error in your SQL syntax');
    const { user, host } = accountName(match[3] ?? '');
    const password = unquote(match[4] ?? "''");
    if (/^ALTER/i.test(sql)) this.#server.accounts.setPassword(user, password);
    else if (!(match[2] && this.#server.accounts.find(user))) this.#server.accounts.create(user, host, password);
    return DONE;
  }

  #grant(sql: string): Result {
    const match = /^(GRANT|REVOKE)\s+([\s\S]+?)\s+ON\s+(?:TABLE\s+)?(\S+)\s+(?:TO|FROM)\s+(\S+)/i.exec(sql);
    if (!match) {
      const all = /^REVOKE\s+ALL[\s\S]*\s+FROM\s+(\S+)/i.exec(sql);
      if (all) this.#server.accounts.revoke(accountName(all[1] ?? '').user, ['ALL PRIVILEGES'], '*');
      return DONE;
    }
    this.#need(['ALL PRIVILEGES']);
    const privileges = (match[2] ?? '').split(',').map((one) => {
      const upper = one.trim().toUpperCase();
      return upper === 'ALL' ? 'ALL PRIVILEGES' : upper;
    });
    const { user, host } = accountName(match[4] ?? '');
    const on = (match[3] ?? '').replaceAll('`', '');
    if (/^GRANT/i.test(sql)) this.#server.accounts.grant(user, host, privileges, on);
    else this.#server.accounts.revoke(user, privileges, on);
    return DONE;
  }

  #show(text: string): Result {
    const server = this.#server;
    const filtered = (rest: string, relation: Relation): Result => this.#filtered(rest, relation);
    const variables = /^(?:(?:GLOBAL|SESSION|LOCAL)\s+)?(VARIABLES|STATUS)\b\s*([\s\S]*)$/i.exec(text);
    if (variables)
      return filtered(
        variables[2] ?? '',
        /^VARIABLES/i.test(variables[1] ?? '')
          ? nameValue(
              new Map([
                ...server.variables,
                ...this.#serverValues(),
                ...(/^GLOBAL/i.test(text) ? [] : this.#variables),
              ]),
            )
          : nameValue(Object.entries(statusOf(server))),
      );
    if (/^ENGINE\s+INNODB\s+STATUS/i.test(text)) {
      this.#need(['PROCESS']);
      const { store } = server;
      return rowsOf(
        ['Type', 'Name', 'Status'],
        [
          [
            'InnoDB',
            '',
            `\n=====================================\nINNODB MONITOR OUTPUT\n=====================================\n---\nLOG\n---\nLog sequence number ${store.lsn}\nLog flushed up to   ${store.lsn}\nPages flushed up to ${store.checkpointLsn}\nLast checkpoint at  ${store.checkpointLsn}\n0 pending log flushes, 0 pending chkp writes\n----------------------------\nEND OF INNODB MONITOR OUTPUT\n============================\n`,
          ],
        ],
      );
    }
    if (/^MASTER\s+STATUS/i.test(text) || (/^BINARY\s+LOG\s+STATUS/i.test(text) && server.version.modern)) {
      this.#need(['SUPER', 'REPLICATION CLIENT'], 'SUPER, REPLICATION CLIENT');
      const { binlog } = server;
      return rowsOf(
        ['File', 'Position', 'Binlog_Do_DB', 'Binlog_Ignore_DB', 'Executed_Gtid_Set'],
        binlog ? [[binlog.file, binlog.position, '', '', binlog.executedGtids]] : [],
      );
    }
    if (/^(SLAVE|REPLICA)\s+STATUS/i.test(text)) return rowsOf(['Slave_IO_State', 'Master_Host'], []);
    if (/^GRANTS/i.test(text)) {
      const user = /^GRANTS\s+FOR\s+('[^']*'|\w+)@/i.exec(text)?.[1];
      const account = user === undefined ? this.#account : server.accounts.find(unquote(user));
      if (!account) throw new SqlError(1141, '42000', 'There is no such grant defined');
      return rowsOf(
        [`Grants for ${account.user}@${account.host}`],
        server.accounts.statements(account).map((statement) => [statement]),
      );
    }
    if (/^(DATABASES|SCHEMAS)/i.test(text))
      return rowsOf(['Database'], [['information_schema'], ...server.database.databases().map((name) => [name])]);
    const tables = /^(?:FULL\s+)?TABLES(?:\s+(?:FROM|IN)\s+(\S+))?\s*([\s\S]*)$/i.exec(text);
    if (tables) {
      const database = tables[1] === undefined ? this.#currentDatabase() : unquote(tables[1]);
      return filtered(tables[2] ?? '', {
        columns: [{ name: `Tables_in_${database}`, numeric: false }],
        rows: server.database.tables(database).map((name) => [name]),
      });
    }
    const create = /^CREATE\s+TABLE\s+(\S+)/i.exec(text);
    if (create) {
      const [database, table] = this.#named(create[1] ?? '');
      return rowsOf(
        ['Table', 'Create Table'],
        [[table, createStatement(table, server.database.definition(database, table))]],
      );
    }
    if (/^(FULL\s+)?PROCESSLIST/i.test(text)) {
      const { rows } = processList(server);
      return rowsOf(
        ['Id', 'User', 'Host', 'db', 'Command', 'Time', 'State', 'Info'],
        rows.filter(([id]) => this.#may(['PROCESS']) || server.sessions.get(Number(id))?.user === this.user),
      );
    }
    if (/^PLUGINS/i.test(text)) {
      const { rows } = virtualTable(server, 'information_schema', 'plugins') as Relation;
      return rowsOf(
        ['Name', 'Status', 'Type', 'Library', 'License'],
        rows.map((row) => [...row, 'GPL']),
      );
    }
    if (/^ENGINES/i.test(text))
      return rowsOf(
        ['Engine', 'Support'],
        [
          ['InnoDB', 'DEFAULT'],
          ['MyISAM', 'YES'],
        ],
      );
    if (/^WARNINGS/i.test(text)) return rowsOf(['Level', 'Code', 'Message'], []);
    throw new SqlError(1064, '42000', `You have an error in your SQL syntax near 'SHOW ${text}'`);
  }

  /** `LIKE 'x'` or `WHERE …` behind a SHOW. */
  #filtered(rest: string, relation: Relation): Result {
    if (rest.trim() === '') return asResult(relation);
    const first = relation.columns[0]?.name ?? '';
    const condition = /^LIKE\b/i.test(rest.trim()) ? `\`${first}\` ${rest}` : rest.replace(/^\s*WHERE\b/i, '');
    const { select } = parseStatement(`SELECT * FROM shown WHERE ${condition}`) as Extract<
      Statement,
      { kind: 'select' }
    >;
    return asResult(runSelect(select, { ...this.#context(), relation: () => relation }));
  }

  // -- data

  async #run(sql: string): Promise<Result> {
    const statement = parseStatement(sql);
    const sleep = /\bSLEEP\s*\(\s*(\d+(?:\.\d+)?)\s*\)/i.exec(sql);
    if (sleep)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Number(sleep[1]) * 1000);
        this.#killed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    if (statement.kind === 'select') return asResult(runSelect(statement.select, this.#context()));
    const changesRows = WRITES.has(statement.kind);
    // A definition ends the transaction before it.
    if (!changesRows) await this.#commit();
    if (!this.#pending) await this.#server.waitUntilWritable(this.id);
    if (
      this.#server.variables.get('read_only') === 'ON' &&
      !this.#may(['SUPER', 'READ_ONLY ADMIN', 'CONNECTION_ADMIN'])
    )
      throw new SqlError(
        1290,
        'HY000',
        'The MySQL server is running with the --read-only option so it cannot execute this statement',
      );
    this.#checkPrivileges(statement);
    if (this.#pending && changesRows) {
      this.#pending.push({ sql, statement });
      return DONE;
    }
    const result = changesRows ? this.#change(statement) : this.#define(statement);
    this.#noteChange(sql);
    return result;
  }

  #noteChange(sql: string): void {
    this.#server.noteChange(sql, Number(this.#variables.get('sql_log_bin') ?? 1) !== 0);
  }

  /** Nobody else gets a turn between the first change of a transaction and its last: no backup sees a part of one. */
  async #commit(): Promise<void> {
    const pending = this.#pending;
    this.#pending = undefined;
    if (!pending || pending.length === 0) return;
    await this.#server.waitUntilWritable(this.id);
    for (const { sql, statement } of pending) {
      this.#change(statement);
      this.#noteChange(sql);
    }
  }

  #change(statement: Statement): Result {
    const context = this.#context();
    switch (statement.kind) {
      case 'insert': {
        const table = this.#table(statement.table);
        const places = (
          statement.columns.length > 0 ? statement.columns : table.definition.columns.map(({ name }) => name)
        ).map((name) => table.place(name));
        const nothing = tableScope(context, '', { columns: [], rows: [] }, []);
        const given: readonly (readonly (Value | undefined)[])[] = statement.rows
          ? statement.rows.map((row) => row.map((expr) => (expr === DEFAULT ? undefined : evaluate(expr, nothing))))
          : statement.select
            ? runSelect(statement.select, context).rows
            : [];
        const wide = given.map((row, index) => {
          if (row.length !== places.length && row.length > 0)
            throw new SqlError(1136, '21S01', `Column count doesn't match value count at row ${index + 1}`);
          const full: (Value | undefined)[] = table.definition.columns.map(() => undefined);
          for (const [at, place] of places.entries()) full[place] = row[at];
          return full;
        });
        const relation = { columns: table.definition.columns.map(({ name }) => ({ name, numeric: false })), rows: [] };
        const { affected, insertId } = table.insert(
          wide,
          statement.mode,
          statement.update.length === 0
            ? undefined
            : (existing) => {
                const next = [...existing];
                for (const [name, expr] of statement.update)
                  next[table.place(name)] = evaluate(
                    expr,
                    tableScope(context, statement.table.name, relation, existing),
                  );
                return next;
              },
        );
        if (insertId > 0) this.#lastInsertId = insertId;
        return { kind: 'done', affected, insertId };
      }
      case 'update': {
        const table = this.#table(statement.table);
        const relation = { columns: table.definition.columns.map(({ name }) => ({ name, numeric: false })), rows: [] };
        let left = statement.limit ?? Number.POSITIVE_INFINITY;
        const affected = table.update((values) => {
          const scope = tableScope(context, statement.table.name, relation, values);
          if (left <= 0 || (statement.where && !truthy(evaluate(statement.where, scope)))) return undefined;
          left -= 1;
          const next = [...values];
          for (const [name, expr] of statement.set) next[table.place(name)] = evaluate(expr, scope);
          return next;
        });
        return { kind: 'done', affected, insertId: 0 };
      }
      case 'delete': {
        const table = this.#table(statement.table);
        const relation = { columns: table.definition.columns.map(({ name }) => ({ name, numeric: false })), rows: [] };
        const scopeOf = (values: readonly Value[]) => tableScope(context, statement.table.name, relation, values);
        const affected = table.remove(
          (values) => statement.where === undefined || truthy(evaluate(statement.where, scopeOf(values))),
          statement.limit,
          (a, b) => {
            for (const { expr, down } of statement.order) {
              const order = compare(evaluate(expr, scopeOf(a)), evaluate(expr, scopeOf(b)));
              if (order !== 0) return down ? -order : order;
            }
            return 0;
          },
        );
        return { kind: 'done', affected, insertId: 0 };
      }
      default:
        throw new TypeError(statement.kind);
    }
  }

  #define(statement: Statement): Result {
    const { database } = this.#server;
    switch (statement.kind) {
      case 'create-database':
        if (database.hasDatabase(statement.name)) {
          if (statement.ifNotExists) return DONE;
          throw new SqlError(1007, 'HY000', `Can't create database '${statement.name}'; database exists`);
        }
        database.createDatabase(statement.name);
        return DONE;
      case 'drop-database':
        if (!database.hasDatabase(statement.name)) {
          if (statement.ifExists) return DONE;
          throw new SqlError(1008, 'HY000', `Can't drop database '${statement.name}'; database doesn't exist`);
        }
        database.dropDatabase(statement.name);
        return DONE;
      case 'create-table': {
        const schema = this.#schema(statement.table);
        if (database.hasTable(schema, statement.table.name)) {
          if (statement.ifNotExists) return DONE;
          throw new SqlError(1050, '42S01', `Table '${statement.table.name}' already exists`);
        }
        const rows = statement.select && runSelect(statement.select, this.#context());
        const definition = statement.like
          ? database.definition(this.#schema(statement.like), statement.like.name)
          : {
              ...statement.definition,
              columns: [
                ...statement.definition.columns,
                ...(rows?.columns ?? []).map(({ name, numeric }) => ({
                  name,
                  type: numeric ? 'bigint(21)' : 'varchar(8000)',
                  nullable: true,
                  fallback: undefined,
                  auto: false,
                })),
              ],
            };
        if (definition.columns.length === 0) throw new SqlError(1113, '42000', 'A table must have at least 1 column');
        const table = database.createTable(schema, statement.table.name, definition);
        return rows ? { kind: 'done', affected: table.insert(rows.rows, 'insert').affected, insertId: 0 } : DONE;
      }
      case 'drop-table':
        for (const table of statement.tables) {
          const schema = this.#schema(table);
          if (!database.hasTable(schema, table.name)) {
            if (statement.ifExists) continue;
            throw new SqlError(1051, '42S02', `Unknown table '${schema}.${table.name}'`);
          }
          database.dropTable(schema, table.name);
        }
        return DONE;
      case 'truncate':
        database.truncate(this.#schema(statement.table), statement.table.name);
        return DONE;
      case 'alter-table': {
        const schema = this.#schema(statement.table);
        const { name } = statement.table;
        if (statement.rename) database.rename(schema, name, this.#schema(statement.rename), statement.rename.name);
        else if (statement.addIndex) database.addIndex(schema, name);
        else database.rebuild(schema, name, statement.options, statement.addColumn);
        return DONE;
      }
      default:
        throw new TypeError(statement.kind);
    }
  }

  #checkPrivileges(statement: Statement): void {
    const needed: Partial<Record<Statement['kind'], readonly string[]>> = {
      insert: ['INSERT'],
      update: ['UPDATE'],
      delete: ['DELETE'],
      'create-table': ['CREATE'],
      'create-database': ['CREATE'],
      'drop-table': ['DROP'],
      'drop-database': ['DROP'],
      truncate: ['DROP'],
      'alter-table': ['ALTER'],
    };
    const privileges = needed[statement.kind];
    if (!privileges) return;
    const [database, table] =
      'name' in statement
        ? [statement.name, '*']
        : 'table' in statement
          ? [this.#schema(statement.table), statement.table.name]
          : [this.#schema((statement as { tables: readonly TableName[] }).tables[0] as TableName), '*'];
    this.#needOnTable(privileges[0] as string, database, table);
    if (statement.kind === 'insert' && statement.mode === 'replace') this.#needOnTable('DELETE', database, table);
  }

  #needOnTable(privilege: string, database: string, table: string): void {
    if (this.#may([privilege], database, table)) return;
    throw table === '*'
      ? new SqlError(1044, '42000', `Access denied for user '${this.user}'@'localhost' to database '${database}'`)
      : new SqlError(
          1142,
          '42000',
          `${privilege} command denied to user '${this.user}'@'localhost' for table '${table}'`,
        );
  }

  #may(anyOf: readonly string[], database?: string, table?: string): boolean {
    return this.#account !== undefined && this.#server.accounts.may(this.#account, anyOf, database, table);
  }

  #need(anyOf: readonly string[], named = anyOf.join(', ')): void {
    if (!this.#may(anyOf)) throw denied(named);
  }

  #currentDatabase(): string {
    if (this.database === null) throw new SqlError(1046, '3D000', 'No database selected');
    return this.database;
  }

  #schema(table: TableName): string {
    return table.database ?? this.#currentDatabase();
  }

  #table(table: TableName) {
    return this.#server.database.table(this.#schema(table), table.name);
  }

  /** Variables that are looked up as they are asked for. */
  #serverValues(): readonly (readonly [string, Value])[] {
    return [['gtid_executed', this.#server.binlog?.executedGtids ?? '']];
  }

  #context(): QueryContext {
    const server = this.#server;
    return {
      relation: (table) => {
        const database = this.#schema(table);
        const found = virtualTable(server, database, table.name);
        if (found) {
          if (NEEDS_PROCESS.test(table.name)) this.#need(['PROCESS']);
          else if (/^(log_status|keyring_component_status|replication_group_members)$/i.test(table.name))
            this.#needOnTable('SELECT', 'performance_schema', table.name);
          return found;
        }
        if (/^(information|performance)_schema$/i.test(database))
          throw /^info/i.test(database)
            ? new SqlError(1109, '42S02', `Unknown table '${table.name.toUpperCase()}' in information_schema`)
            : new SqlError(1146, '42S02', `Table '${database}.${table.name}' doesn't exist`);
        this.#needOnTable('SELECT', database, table.name);
        const { definition } = server.database.table(database, table.name);
        return {
          columns: definition.columns.map(({ name, type }) => ({ name, numeric: /int/.test(type) })),
          rows: server.database.table(database, table.name).values(),
        };
      },
      variable: (name) => {
        const own =
          name === 'gtid_executed'
            ? (server.binlog?.executedGtids ?? '')
            : (this.#variables.get(name) ?? server.variables.get(name));
        if (own === undefined) throw new SqlError(1193, 'HY000', `Unknown system variable '${name}'`);
        // Switches read as numbers.
        return own === 'ON' && name !== 'gtid_mode' ? 1 : own === 'OFF' && name !== 'gtid_mode' ? 0 : own;
      },
      call: (name) => {
        switch (name) {
          case 'CURRENT_USER':
          case 'USER':
            return `${this.user}@localhost`;
          case 'CURRENT_ROLE':
            // Roles came with 8.0: before, this is a function nobody defined.
            if (server.version.modern) return 'NONE';
            throw this.database === null
              ? new SqlError(1046, '3D000', 'No database selected')
              : new SqlError(1305, '42000', `FUNCTION ${this.database}.CURRENT_ROLE does not exist`);
          case 'CONNECTION_ID':
            return this.id;
          case 'DATABASE':
            return this.database;
          case 'VERSION':
            return server.version.version;
          case 'LAST_INSERT_ID':
            return this.#lastInsertId;
          case 'SLEEP':
            return 0;
          default:
            return undefined;
        }
      },
    };
  }
}

const createStatement = (table: string, definition: TableDefinition): string => {
  const lines = definition.columns.map(
    ({ name, type, nullable, fallback, auto }) =>
      `  \`${name}\` ${type}${nullable ? '' : ' NOT NULL'}${auto ? ' AUTO_INCREMENT' : fallback === undefined ? (nullable ? ' DEFAULT NULL' : '') : ` DEFAULT '${fallback}'`}`,
  );
  if (definition.primary.length > 0)
    lines.push(`  PRIMARY KEY (${definition.primary.map((name) => `\`${name}\``).join(',')})`);
  const encryption = definition.options.ENCRYPTION;
  return `CREATE TABLE \`${table}\` (\n${lines.join(',\n')}\n) ENGINE=${isInnodb(definition) ? 'InnoDB' : 'MyISAM'} DEFAULT CHARSET=latin1${encryption === undefined ? '' : ` ENCRYPTION='${encryption}'`}`;
};
