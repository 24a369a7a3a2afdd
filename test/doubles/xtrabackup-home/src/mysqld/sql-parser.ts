import { SqlError } from '../wire/server-session.ts';
import { type Token, tokenize } from './sql-tokens.ts';

export type Expr =
  | { readonly kind: 'value'; readonly value: string | number | null }
  | { readonly kind: 'column'; readonly table: string | undefined; readonly name: string }
  | { readonly kind: 'variable'; readonly name: string }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Expr[]; readonly star: boolean }
  | { readonly kind: 'op'; readonly op: string; readonly args: readonly Expr[] }
  | { readonly kind: 'select'; readonly select: Select };

export interface TableName {
  readonly database: string | undefined;
  readonly name: string;
}

export interface Source {
  readonly table: TableName | undefined;
  readonly select: Select | undefined;
  readonly alias: string;
  readonly on: Expr | undefined;
  readonly left: boolean;
}

export interface Select {
  readonly items: readonly { readonly expr: Expr | 'star'; readonly table?: string; readonly name: string }[];
  readonly from: readonly Source[];
  readonly where: Expr | undefined;
  readonly group: readonly Expr[];
  readonly order: readonly { readonly expr: Expr; readonly down: boolean }[];
  readonly limit: number | undefined;
  readonly offset: number;
}

export interface ColumnDefinition {
  readonly name: string;
  /** As written: `int(11)`, `varchar(400)`. */
  readonly type: string;
  readonly nullable: boolean;
  readonly fallback: string | number | null | undefined;
  readonly auto: boolean;
}

export interface TableDefinition {
  readonly columns: readonly ColumnDefinition[];
  readonly primary: readonly string[];
  readonly options: Readonly<Record<string, string>>;
}

export type Statement =
  | { readonly kind: 'select'; readonly select: Select }
  | {
      readonly kind: 'insert';
      readonly table: TableName;
      readonly columns: readonly string[];
      readonly rows: readonly (readonly Expr[])[] | undefined;
      readonly select: Select | undefined;
      readonly mode: 'insert' | 'replace' | 'ignore';
      readonly update: readonly (readonly [string, Expr])[];
    }
  | {
      readonly kind: 'update';
      readonly table: TableName;
      readonly set: readonly (readonly [string, Expr])[];
      readonly where: Expr | undefined;
      readonly limit: number | undefined;
    }
  | {
      readonly kind: 'delete';
      readonly table: TableName;
      readonly where: Expr | undefined;
      readonly order: Select['order'];
      readonly limit: number | undefined;
    }
  | {
      readonly kind: 'create-table';
      readonly table: TableName;
      readonly ifNotExists: boolean;
      readonly definition: TableDefinition;
      readonly like: TableName | undefined;
      readonly select: Select | undefined;
    }
  | { readonly kind: 'drop-table'; readonly tables: readonly TableName[]; readonly ifExists: boolean }
  | { readonly kind: 'truncate'; readonly table: TableName }
  | {
      readonly kind: 'alter-table';
      readonly table: TableName;
      readonly options: Readonly<Record<string, string>>;
      readonly addIndex: boolean;
      readonly addColumn: ColumnDefinition | undefined;
      readonly rename: TableName | undefined;
    }
  | { readonly kind: 'create-database'; readonly name: string; readonly ifNotExists: boolean }
  | { readonly kind: 'drop-database'; readonly name: string; readonly ifExists: boolean };

const COMPARISONS = new Set(['=', '<=>', '<>', '!=', '<', '<=', '>', '>=']);
const AFTER_ITEM = new Set([
  'FROM',
  'WHERE',
  'GROUP',
  'ORDER',
  'LIMIT',
  'ON',
  'JOIN',
  'INNER',
  'LEFT',
  'CROSS',
  'SET',
  'FOR',
  'UNION',
  'VALUES',
  'SELECT',
  'LOCK',
  'HAVING',
]);

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(sql: string) {
    this.#tokens = tokenize(sql);
  }

  // -- tokens

  #fail(): never {
    const near = this.#tokens
      .slice(this.#at, this.#at + 12)
      .map(({ text }) => text)
      .join(' ');
    throw new SqlError(
      1064,
      '42000',
      `You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version for the right syntax to use near '${near}' at line 1`,
    );
  }

  #peek(ahead = 0): Token | undefined {
    return this.#tokens[this.#at + ahead];
  }

  #isWord(text: string, ahead = 0): boolean {
    const token = this.#peek(ahead);
    return token?.kind === 'word' && token.text.toUpperCase() === text;
  }

  #isSign(text: string, ahead = 0): boolean {
    const token = this.#peek(ahead);
    return token?.kind === 'sign' && token.text === text;
  }

  #word(...words: readonly string[]): boolean {
    if (!words.every((word, index) => this.#isWord(word, index))) return false;
    this.#at += words.length;
    return true;
  }

  #sign(text: string): boolean {
    if (!this.#isSign(text)) return false;
    this.#at += 1;
    return true;
  }

  #needWord(...words: readonly string[]): void {
    if (!this.#word(...words)) this.#fail();
  }

  #needSign(text: string): void {
    if (!this.#sign(text)) this.#fail();
  }

  #name(): string {
    const token = this.#peek();
    if (token?.kind !== 'word' && token?.kind !== 'name') this.#fail();
    this.#at += 1;
    return (token as Token).text;
  }

  #integer(): number {
    const token = this.#peek();
    if (token?.kind !== 'number') this.#fail();
    this.#at += 1;
    return Number((token as Token).text);
  }

  #list<T>(one: () => T): T[] {
    const found = [one()];
    while (this.#sign(',')) found.push(one());
    return found;
  }

  #tableName(): TableName {
    const first = this.#name();
    return this.#sign('.') ? { database: first, name: this.#name() } : { database: undefined, name: first };
  }

  // -- expressions, loosest binding first

  #expr(): Expr {
    return this.#binary(['OR', '||'], () =>
      this.#binary(['AND', '&&'], () => (this.#word('NOT') ? op('NOT', this.#comparison()) : this.#comparison())),
    );
  }

  #binary(operators: readonly string[], inner: () => Expr): Expr {
    let left = inner();
    for (;;) {
      const operator = operators.find((text) => this.#isWord(text) || this.#isSign(text));
      if (!operator) return left;
      this.#at += 1;
      left = op(operator === '||' ? 'OR' : operator === '&&' ? 'AND' : operator, left, inner());
    }
  }

  #comparison(): Expr {
    let left = this.#bits();
    for (;;) {
      const token = this.#peek();
      if (token?.kind === 'sign' && COMPARISONS.has(token.text)) {
        this.#at += 1;
        left = op(token.text === '!=' ? '<>' : token.text, left, this.#bits());
      } else if (this.#word('IS')) {
        const negated = this.#word('NOT');
        this.#needWord('NULL');
        left = op(negated ? 'IS NOT NULL' : 'IS NULL', left);
      } else {
        const start = this.#at;
        const negated = this.#word('NOT');
        const wrap = (expr: Expr): Expr => (negated ? op('NOT', expr) : expr);
        if (this.#word('IN')) {
          this.#needSign('(');
          left = wrap(
            this.#isWord('SELECT')
              ? op('IN', left, { kind: 'select', select: this.#select() })
              : op('IN', left, ...this.#list(() => this.#expr())),
          );
          this.#needSign(')');
        } else if (this.#word('LIKE')) left = wrap(op('LIKE', left, this.#bits()));
        else if (this.#word('REGEXP') || this.#word('RLIKE')) left = wrap(op('REGEXP', left, this.#bits()));
        else if (this.#word('BETWEEN')) {
          const low = this.#bits();
          this.#needWord('AND');
          left = wrap(op('AND', op('>=', left, low), op('<=', left, this.#bits())));
        } else {
          this.#at = start;
          return left;
        }
      }
    }
  }

  #bits(): Expr {
    return this.#binary(['|', '&'], () =>
      this.#binary(['+', '-'], () => this.#binary(['*', '/', '%', 'DIV', 'MOD'], () => this.#unary())),
    );
  }

  #unary(): Expr {
    if (this.#sign('-')) return op('NEG', this.#unary());
    if (this.#sign('+')) return this.#unary();
    if (this.#sign('!')) return op('NOT', this.#unary());
    if (this.#word('BINARY')) return this.#unary();
    return this.#primary();
  }

  #primary(): Expr {
    const token = this.#peek();
    if (!token) this.#fail();
    const { kind, text } = token as Token;
    if (kind === 'number') {
      this.#at += 1;
      return { kind: 'value', value: Number(text) };
    }
    if (kind === 'text') {
      this.#at += 1;
      let value = text;
      while (this.#peek()?.kind === 'text') {
        value += (this.#peek() as Token).text;
        this.#at += 1;
      }
      return { kind: 'value', value };
    }
    if (this.#sign('@@')) {
      let name = this.#name();
      if (/^(global|session|local)$/i.test(name) && this.#sign('.')) name = this.#name();
      return { kind: 'variable', name: name.toLowerCase() };
    }
    if (this.#sign('(')) {
      const inner: Expr = this.#isWord('SELECT') ? { kind: 'select', select: this.#select() } : this.#expr();
      this.#needSign(')');
      return inner;
    }
    if (this.#word('NULL')) return { kind: 'value', value: null };
    if (this.#word('TRUE')) return { kind: 'value', value: 1 };
    if (this.#word('FALSE')) return { kind: 'value', value: 0 };
    if (this.#word('CASE')) return this.#case();
    if (kind !== 'word' && kind !== 'name') this.#fail();
    this.#at += 1;
    if (kind === 'word' && this.#sign('(')) {
      if (this.#sign('*')) {
        this.#needSign(')');
        return { kind: 'call', name: text.toUpperCase(), args: [], star: true };
      }
      this.#word('DISTINCT');
      const args = this.#isSign(')') ? [] : this.#list(() => this.#expr());
      this.#needSign(')');
      return { kind: 'call', name: text.toUpperCase(), args, star: false };
    }
    if (!this.#sign('.')) return { kind: 'column', table: undefined, name: text };
    const second = this.#name();
    return this.#sign('.')
      ? { kind: 'column', table: second, name: this.#name() }
      : { kind: 'column', table: text, name: second };
  }

  #case(): Expr {
    const args: Expr[] = [];
    const subject = this.#isWord('WHEN') ? undefined : this.#expr();
    while (this.#word('WHEN')) {
      const condition = this.#expr();
      this.#needWord('THEN');
      args.push(subject ? op('=', subject, condition) : condition, this.#expr());
    }
    args.push(this.#word('ELSE') ? this.#expr() : { kind: 'value', value: null });
    this.#needWord('END');
    return op('CASE', ...args);
  }

  // -- queries

  #select(): Select {
    this.#needWord('SELECT');
    this.#word('ALL');
    this.#word('SQL_NO_CACHE');
    const items = this.#list(() => this.#item());
    const from = this.#word('FROM') ? this.#sources() : [];
    const where = this.#word('WHERE') ? this.#expr() : undefined;
    const group = this.#word('GROUP', 'BY') ? this.#list(() => this.#expr()) : [];
    const order = this.#order();
    let limit: number | undefined;
    let offset = 0;
    if (this.#word('LIMIT')) {
      limit = this.#integer();
      if (this.#sign(',')) {
        offset = limit;
        limit = this.#integer();
      } else if (this.#word('OFFSET')) offset = this.#integer();
    }
    if (this.#word('FOR')) this.#needWord('UPDATE');
    return { items, from, where, group, order, limit, offset };
  }

  #item(): Select['items'][number] {
    if (this.#sign('*')) return { expr: 'star', name: '*' };
    if (
      (this.#peek()?.kind === 'word' || this.#peek()?.kind === 'name') &&
      this.#isSign('.', 1) &&
      this.#isSign('*', 2)
    ) {
      const table = this.#name();
      this.#at += 2;
      return { expr: 'star', table, name: '*' };
    }
    const start = this.#at;
    const expr = this.#expr();
    const written = this.#tokens
      .slice(start, this.#at)
      .map(({ kind, text }) => (kind === 'text' ? `'${text}'` : text))
      .join('');
    const plain =
      expr.kind === 'column'
        ? expr.name
        : expr.kind === 'value' && typeof expr.value === 'string'
          ? expr.value
          : written;
    return { expr, name: this.#alias() ?? plain };
  }

  #alias(): string | undefined {
    if (this.#word('AS')) {
      const token = this.#peek();
      this.#at += 1;
      return token?.text;
    }
    const token = this.#peek();
    if (
      token?.kind === 'name' ||
      token?.kind === 'text' ||
      (token?.kind === 'word' && !AFTER_ITEM.has(token.text.toUpperCase()))
    ) {
      this.#at += 1;
      return token.text;
    }
    return undefined;
  }

  #sources(): Source[] {
    const sources = [this.#source(false)];
    for (;;) {
      if (this.#sign(',')) sources.push(this.#source(false));
      else {
        const left = this.#word('LEFT');
        if (left) this.#word('OUTER');
        else if (!this.#word('INNER')) this.#word('CROSS');
        if (!this.#word('JOIN')) return sources;
        sources.push(this.#source(left));
      }
    }
  }

  #source(left: boolean): Source {
    let table: TableName | undefined;
    let select: Select | undefined;
    if (this.#sign('(')) {
      select = this.#select();
      this.#needSign(')');
    } else table = this.#tableName();
    const alias = this.#alias() ?? table?.name ?? '';
    return { table, select, alias, left, on: this.#word('ON') ? this.#expr() : undefined };
  }

  #order(): Select['order'] {
    if (!this.#word('ORDER', 'BY')) return [];
    return this.#list(() => {
      const expr = this.#expr();
      const down = this.#word('DESC');
      if (!down) this.#word('ASC');
      return { expr, down };
    });
  }

  // -- statements

  statement(): Statement {
    const found = this.#statement();
    this.#sign(';');
    if (this.#at < this.#tokens.length) this.#fail();
    return found;
  }

  #statement(): Statement {
    if (this.#isWord('SELECT') || this.#isSign('(')) return { kind: 'select', select: this.#select() };
    if (this.#isWord('INSERT') || this.#isWord('REPLACE')) return this.#insert();
    if (this.#word('UPDATE')) {
      const table = this.#tableName();
      this.#needWord('SET');
      const set = this.#assignments();
      return { kind: 'update', table, set, where: this.#where(), limit: this.#limit() };
    }
    if (this.#word('DELETE')) {
      this.#needWord('FROM');
      const table = this.#tableName();
      const where = this.#where();
      return { kind: 'delete', table, where, order: this.#order(), limit: this.#limit() };
    }
    if (this.#word('TRUNCATE')) {
      this.#word('TABLE');
      return { kind: 'truncate', table: this.#tableName() };
    }
    if (this.#word('CREATE', 'TABLE')) return this.#createTable();
    if (this.#word('CREATE', 'DATABASE') || this.#word('CREATE', 'SCHEMA')) {
      const ifNotExists = this.#word('IF', 'NOT', 'EXISTS');
      const name = this.#name();
      this.#options();
      return { kind: 'create-database', name, ifNotExists };
    }
    if (this.#word('DROP', 'TABLE')) {
      const ifExists = this.#word('IF', 'EXISTS');
      return { kind: 'drop-table', ifExists, tables: this.#list(() => this.#tableName()) };
    }
    if (this.#word('DROP', 'DATABASE') || this.#word('DROP', 'SCHEMA')) {
      const ifExists = this.#word('IF', 'EXISTS');
      return { kind: 'drop-database', ifExists, name: this.#name() };
    }
    if (this.#word('RENAME', 'TABLE')) {
      const table = this.#tableName();
      this.#needWord('TO');
      return { ...this.#alterNothing(table), rename: this.#tableName() };
    }
    if (this.#word('ALTER', 'TABLE')) return this.#alterTable();
    return this.#fail();
  }

  #where(): Expr | undefined {
    return this.#word('WHERE') ? this.#expr() : undefined;
  }

  #limit(): number | undefined {
    return this.#word('LIMIT') ? this.#integer() : undefined;
  }

  #assignments(): (readonly [string, Expr])[] {
    return this.#list(() => {
      let name = this.#name();
      if (this.#sign('.')) name = this.#name();
      this.#needSign('=');
      return [name, this.#expr()] as const;
    });
  }

  #insert(): Statement {
    let mode: 'insert' | 'replace' | 'ignore' = this.#word('REPLACE') ? 'replace' : 'insert';
    if (mode === 'insert') this.#needWord('INSERT');
    if (this.#word('IGNORE')) mode = 'ignore';
    this.#word('INTO');
    const table = this.#tableName();
    let columns: readonly string[] = [];
    if (this.#isSign('(') && !this.#isWord('SELECT', 1)) {
      this.#at += 1;
      columns = this.#isSign(')') ? [] : this.#list(() => this.#name());
      this.#needSign(')');
    }
    let rows: Expr[][] | undefined;
    let select: Select | undefined;
    if (this.#word('VALUES') || this.#word('VALUE'))
      rows = this.#list(() => {
        this.#needSign('(');
        const row = this.#isSign(')') ? [] : this.#list((): Expr => (this.#word('DEFAULT') ? DEFAULT : this.#expr()));
        this.#needSign(')');
        return row;
      });
    else if (this.#word('SET')) {
      const set = this.#assignments();
      columns = set.map(([name]) => name);
      rows = [set.map(([, expr]) => expr)];
    } else select = this.#select();
    const update = this.#word('ON', 'DUPLICATE', 'KEY', 'UPDATE') ? this.#assignments() : [];
    return { kind: 'insert', table, columns, rows, select, mode, update };
  }

  #createTable(): Statement {
    const ifNotExists = this.#word('IF', 'NOT', 'EXISTS');
    const table = this.#tableName();
    const base = { kind: 'create-table', table, ifNotExists } as const;
    if (this.#word('LIKE'))
      return {
        ...base,
        like: this.#tableName(),
        select: undefined,
        definition: { columns: [], primary: [], options: {} },
      };
    const columns: ColumnDefinition[] = [];
    let primary: readonly string[] = [];
    if (this.#sign('(')) {
      this.#list(() => {
        if (this.#word('PRIMARY', 'KEY')) primary = this.#keyColumns();
        else if (this.#word('UNIQUE') || this.#isWord('KEY') || this.#isWord('INDEX') || this.#isWord('CONSTRAINT')) {
          while (!this.#isSign('(')) this.#at += 1;
          this.#keyColumns();
        } else {
          const { column, isPrimary } = this.#column();
          columns.push(column);
          if (isPrimary) primary = [column.name];
        }
      });
      this.#needSign(')');
    }
    const options = this.#options();
    this.#word('AS');
    const select = this.#isWord('SELECT') ? this.#select() : undefined;
    return { ...base, like: undefined, select, definition: { columns, primary, options } };
  }

  #keyColumns(): readonly string[] {
    this.#needSign('(');
    const names = this.#list(() => {
      const name = this.#name();
      if (this.#sign('(')) {
        this.#integer();
        this.#needSign(')');
      }
      return name;
    });
    this.#needSign(')');
    return names;
  }

  #column(): { readonly column: ColumnDefinition; readonly isPrimary: boolean } {
    const name = this.#name();
    let type = this.#name().toLowerCase();
    if (this.#sign('(')) {
      const inside: string[] = [];
      while (!this.#isSign(')')) {
        inside.push((this.#peek() as Token).text);
        this.#at += 1;
      }
      this.#at += 1;
      type += `(${inside.join('')})`;
    }
    let nullable = true;
    let auto = false;
    let isPrimary = false;
    let fallback: ColumnDefinition['fallback'];
    for (;;) {
      if (this.#word('NOT', 'NULL')) nullable = false;
      else if (this.#word('NULL')) nullable = true;
      else if (this.#word('AUTO_INCREMENT')) auto = true;
      else if (this.#word('PRIMARY', 'KEY')) isPrimary = true;
      else if (this.#word('UNSIGNED')) type += ' unsigned';
      else if (this.#word('CHARACTER', 'SET') || this.#word('CHARSET') || this.#word('COLLATE')) this.#name();
      else if (this.#word('UNIQUE')) this.#word('KEY');
      else if (this.#word('KEY')) continue;
      else if (this.#word('COMMENT')) this.#at += 1;
      else if (this.#word('DEFAULT')) {
        const expr = this.#unary();
        fallback =
          expr.kind === 'value'
            ? expr.value
            : expr.kind === 'op'
              ? -Number((expr.args[0] as { value: number }).value)
              : '1970-01-01 00:00:00';
      } else if (this.#word('ON', 'UPDATE')) this.#unary();
      else return { column: { name, type, nullable: nullable && !isPrimary, fallback, auto }, isPrimary };
    }
  }

  /** `ENGINE=InnoDB ENCRYPTION='Y' …`, names in upper case. */
  #options(): Readonly<Record<string, string>> {
    const options: Record<string, string> = {};
    for (;;) {
      this.#word('DEFAULT');
      if (this.#isWord('AS') || this.#isWord('SELECT') || this.#peek()?.kind !== 'word') return options;
      let name = this.#name().toUpperCase();
      if (name === 'CHARACTER') {
        this.#needWord('SET');
        name = 'CHARSET';
      }
      this.#sign('=');
      options[name] = (this.#peek() as Token).text;
      this.#at += 1;
      this.#sign(',');
    }
  }

  #alterNothing(table: TableName): Extract<Statement, { kind: 'alter-table' }> {
    return { kind: 'alter-table', table, options: {}, addIndex: false, addColumn: undefined, rename: undefined };
  }

  #alterTable(): Statement {
    const base = this.#alterNothing(this.#tableName());
    if (this.#word('RENAME')) {
      if (!this.#word('TO')) this.#word('AS');
      return { ...base, rename: this.#tableName() };
    }
    if (this.#word('ADD')) {
      if (this.#word('INDEX') || this.#word('KEY')) {
        if (!this.#isSign('(')) this.#name();
        this.#keyColumns();
        return { ...base, addIndex: true };
      }
      this.#word('COLUMN');
      const addColumn = this.#column().column;
      // Where the change is made (ALGORITHM, LOCK) makes no difference to its outcome.
      if (this.#sign(',')) this.#options();
      return { ...base, addColumn };
    }
    return { ...base, options: this.#options() };
  }
}

const op = (operator: string, ...args: readonly Expr[]): Expr => ({ kind: 'op', op: operator, args });

/** Stands for `DEFAULT` among values. */
export const DEFAULT: Expr = { kind: 'call', name: 'DEFAULT', args: [], star: false };

export const parseStatement = (sql: string): Statement => new Parser(sql).statement();
