import { type Column, SqlError, type Value } from '../wire/server-session.ts';
import { compare, evaluate, isAggregate, type Scope, truthy } from './sql-evaluate.ts';
import type { Expr, Select, TableName } from './sql-parser.ts';

export interface Relation {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Value[])[];
}

/** Where a query finds tables and the server's own values. */
export interface QueryContext {
  relation(table: TableName): Relation;
  variable(name: string): Value;
  call(name: string, args: readonly Value[]): Value | undefined;
}

interface Bound {
  readonly alias: string;
  readonly index: ReadonlyMap<string, number>;
  readonly relation: Relation;
}

const bind = (alias: string, relation: Relation): Bound => ({
  alias: alias.toLowerCase(),
  relation,
  index: new Map(relation.columns.map(({ name }, place) => [name.toLowerCase(), place])),
});

type JoinedRow = readonly (readonly Value[] | undefined)[];

class RowScope implements Scope {
  readonly #context: QueryContext;
  readonly #sources: readonly Bound[];
  readonly #row: JoinedRow;
  readonly #aliases: ReadonlyMap<string, Expr>;
  readonly group: readonly Scope[];

  constructor(
    context: QueryContext,
    sources: readonly Bound[],
    row: JoinedRow,
    aliases: ReadonlyMap<string, Expr> = new Map(),
    group: readonly Scope[] = [],
  ) {
    this.#context = context;
    this.#sources = sources;
    this.#row = row;
    this.#aliases = aliases;
    this.group = group;
  }

  column(table: string | undefined, name: string): Value {
    const wanted = name.toLowerCase();
    for (const [place, source] of this.#sources.entries()) {
      if (table !== undefined && source.alias !== table.toLowerCase()) continue;
      const at = source.index.get(wanted);
      if (at !== undefined) return this.#row[place]?.[at] ?? null;
    }
    const alias = table === undefined ? this.#aliases.get(wanted) : undefined;
    if (alias) return evaluate(alias, this);
    throw new SqlError(1054, '42S22', `Unknown column '${table ? `${table}.` : ''}${name}' in 'field list'`);
  }

  variable(name: string): Value {
    return this.#context.variable(name);
  }

  call(name: string, args: readonly Value[]): Value | undefined {
    return this.#context.call(name, args);
  }

  select(select: Select): readonly (readonly Value[])[] {
    return runSelect(select, this.#context).rows;
  }
}

/** The scope of one row of one table. */
export const tableScope = (context: QueryContext, alias: string, relation: Relation, row: readonly Value[]): Scope =>
  new RowScope(context, [bind(alias, relation)], [row]);

const joined = (select: Select, context: QueryContext, sources: readonly Bound[]): readonly JoinedRow[] => {
  let rows: JoinedRow[] = [[]];
  // Without anything that needs all rows, a limit ends the work early.
  const enough =
    select.limit !== undefined && select.order.length === 0 && select.group.length === 0 && select.where === undefined
      ? select.limit + select.offset
      : Number.POSITIVE_INFINITY;
  for (const [place, source] of select.from.entries()) {
    const bound = sources[place] as Bound;
    const next: JoinedRow[] = [];
    for (const row of rows) {
      let matched = false;
      for (const candidate of bound.relation.rows) {
        const whole = [...row, candidate];
        if (source.on && !truthy(evaluate(source.on, new RowScope(context, sources.slice(0, place + 1), whole))))
          continue;
        matched = true;
        next.push(whole);
        if (place === select.from.length - 1 && next.length >= enough) break;
      }
      if (!matched && source.left) next.push([...row, undefined]);
      if (place === select.from.length - 1 && next.length >= enough) break;
    }
    rows = next;
  }
  return rows;
};

export const runSelect = (select: Select, context: QueryContext): Relation => {
  const sources = select.from.map((source) =>
    bind(source.alias, source.select ? runSelect(source.select, context) : context.relation(source.table as TableName)),
  );
  const aliases = new Map(
    select.items.flatMap(({ expr, name }): [string, Expr][] => (expr === 'star' ? [] : [[name.toLowerCase(), expr]])),
  );
  const scopeOf = (row: JoinedRow, group: readonly Scope[] = []): Scope =>
    new RowScope(context, sources, row, aliases, group);

  let rows = joined(select, context, sources).map((row) => ({ row, scope: scopeOf(row) }));
  if (select.where) rows = rows.filter(({ scope }) => truthy(evaluate(select.where as Expr, scope)));
  const aggregates = select.items.some(({ expr }) => expr !== 'star' && isAggregate(expr));
  if (aggregates || select.group.length > 0) {
    const groups = new Map<string, { readonly row: JoinedRow; readonly members: Scope[] }>();
    if (select.group.length === 0) groups.set('', { row: rows[0]?.row ?? sources.map(() => undefined), members: [] });
    for (const { row, scope } of rows) {
      const key = JSON.stringify(select.group.map((expr) => String(evaluate(expr, scope))));
      const group = groups.get(select.group.length === 0 ? '' : key) ?? { row, members: [] };
      groups.set(select.group.length === 0 ? '' : key, group);
      group.members.push(scope);
    }
    rows = [...groups.values()].map(({ row, members }) => ({ row, scope: scopeOf(row, members) }));
  }
  // `ORDER BY 1`: a number names a column of the result.
  const ordered = (expr: Expr): Expr => {
    const item = expr.kind === 'value' && typeof expr.value === 'number' ? select.items[expr.value - 1] : undefined;
    return item === undefined || item.expr === 'star' ? expr : item.expr;
  };
  if (select.order.length > 0)
    rows = rows
      .map((entry) => ({ entry, keys: select.order.map(({ expr }) => evaluate(ordered(expr), entry.scope)) }))
      .sort((a, b) => {
        for (const [place, { down }] of select.order.entries()) {
          const order = compare(a.keys[place] ?? null, b.keys[place] ?? null);
          if (order !== 0) return down ? -order : order;
        }
        return 0;
      })
      .map(({ entry }) => entry);
  rows = rows.slice(select.offset, select.limit === undefined ? undefined : select.offset + select.limit);

  const columns: Column[] = [];
  const readers: ((row: JoinedRow, scope: Scope) => Value)[] = [];
  for (const { expr, table, name } of select.items) {
    if (expr !== 'star') {
      columns.push({ name, numeric: false });
      readers.push((_row, scope) => evaluate(expr, scope));
      continue;
    }
    for (const [place, source] of sources.entries()) {
      if (table !== undefined && source.alias !== table.toLowerCase()) continue;
      for (const [at, column] of source.relation.columns.entries()) {
        columns.push(column);
        readers.push((row) => row[place]?.[at] ?? null);
      }
    }
  }
  const values = rows.map(({ row, scope }) => readers.map((read) => read(row, scope)));
  return {
    columns: columns.map((column, place) => ({
      ...column,
      numeric:
        column.numeric ||
        (values.length > 0 &&
          values.every((row) => row[place] === null || typeof row[place] === 'number') &&
          values.some((row) => row[place] !== null)),
    })),
    rows: values,
  };
};
