import { createHash, randomUUID } from 'node:crypto';
import { SqlError, type Value } from '../wire/server-session.ts';
import type { Expr, Select } from './sql-parser.ts';

/** What an expression may look up. */
export interface Scope {
  column(table: string | undefined, name: string): Value;
  variable(name: string): Value;
  /** Functions that need the server. */
  call(name: string, args: readonly Value[]): Value | undefined;
  select(select: Select): readonly (readonly Value[])[];
  /** Rows of the group an aggregate runs over. */
  readonly group?: readonly Scope[];
}

const AGGREGATES = new Set(['COUNT', 'SUM', 'MIN', 'MAX', 'AVG', 'GROUP_CONCAT']);

export const isAggregate = (expr: Expr): boolean =>
  (expr.kind === 'call' && (AGGREGATES.has(expr.name) || expr.args.some(isAggregate))) ||
  (expr.kind === 'op' && expr.args.some(isAggregate));

const number = (value: Value): number => {
  if (typeof value === 'number') return value;
  const parsed = Number.parseFloat(String(value));
  return Number.isNaN(parsed) ? 0 : parsed;
};

/** As `ORDER BY` does: NULL first, numbers by size, text without regard to case. */
export const compare = (one: Value, other: Value): number => {
  if (one === null || other === null) return one === other ? 0 : one === null ? -1 : 1;
  if (typeof one === 'number' || typeof other === 'number') return number(one) - number(other);
  const [a, b] = [String(one).toLowerCase(), String(other).toLowerCase()];
  return a < b ? -1 : a > b ? 1 : 0;
};

const bool = (value: boolean): number => (value ? 1 : 0);
export const truthy = (value: Value): boolean => value !== null && number(value) !== 0;

const likePattern = (pattern: string): RegExp =>
  new RegExp(
    `^${pattern.replaceAll(/\\([%_\\])|[.*+?^${}()|[\]\\]|%|_/g, (found, escaped: string | undefined) =>
      escaped ? escaped.replace('\\', '\\\\') : found === '%' ? '[\\s\\S]*' : found === '_' ? '[\\s\\S]' : `\\${found}`,
    )}$`,
    'i',
  );

const arithmetic: Readonly<Record<string, (a: number, b: number) => Value>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => (b === 0 ? null : a / b),
  '%': (a, b) => (b === 0 ? null : a % b),
  MOD: (a, b) => (b === 0 ? null : a % b),
  DIV: (a, b) => (b === 0 ? null : Math.trunc(a / b)),
  '&': (a, b) => Number(BigInt(Math.trunc(a)) & BigInt(Math.trunc(b))),
  '|': (a, b) => Number(BigInt(Math.trunc(a)) | BigInt(Math.trunc(b))),
};

const comparisons: Readonly<Record<string, (order: number) => boolean>> = {
  '=': (order) => order === 0,
  '<>': (order) => order !== 0,
  '<': (order) => order < 0,
  '<=': (order) => order <= 0,
  '>': (order) => order > 0,
  '>=': (order) => order >= 0,
};

const text = (value: Value | undefined): string => String(value ?? '');

const FUNCTIONS: Readonly<Record<string, (...args: readonly Value[]) => Value>> = {
  CONCAT: (...args) => (args.includes(null) ? null : args.map(text).join('')),
  CONCAT_WS: (separator, ...args) =>
    args
      .filter((arg) => arg !== null)
      .map(text)
      .join(text(separator)),
  REPEAT: (value, times) => text(value).repeat(Math.max(0, number(times ?? 0))),
  LENGTH: (value) => (value === null ? null : Buffer.byteLength(text(value))),
  CHAR_LENGTH: (value) => (value === null ? null : text(value).length),
  UPPER: (value) => (value === null ? null : text(value).toUpperCase()),
  LOWER: (value) => (value === null ? null : text(value).toLowerCase()),
  LEFT: (value, length) => text(value).slice(0, number(length ?? 0)),
  SUBSTRING: (value, from, length) =>
    text(value).slice(number(from ?? 1) - 1, length === undefined ? undefined : number(from ?? 1) - 1 + number(length)),
  LPAD: (value, length, pad) => text(value).padStart(number(length ?? 0), text(pad)),
  REPLACE: (value, from, to) => text(value).replaceAll(text(from), text(to)),
  MD5: (value) => createHash('md5').update(text(value)).digest('hex'),
  SHA1: (value) => createHash('sha1').update(text(value)).digest('hex'),
  CRC32: (value) => Number.parseInt(createHash('md5').update(text(value)).digest('hex').slice(0, 8), 16),
  HEX: (value) =>
    (typeof value === 'number' ? value.toString(16) : Buffer.from(text(value)).toString('hex')).toUpperCase(),
  ABS: (value) => Math.abs(number(value ?? null)),
  FLOOR: (value) => Math.floor(number(value ?? null)),
  ROUND: (value) => Math.round(number(value ?? null)),
  MOD: (a, b) => number(a ?? null) % number(b ?? null),
  GREATEST: (...args) => Math.max(...args.map(number)),
  LEAST: (...args) => Math.min(...args.map(number)),
  RAND: () => Math.random(),
  UUID: () => randomUUID(),
  IFNULL: (one, other) => one ?? other ?? null,
  COALESCE: (...args) => args.find((arg) => arg !== null) ?? null,
  NOW: (digits) => {
    const text = new Date().toISOString().replace('T', ' ').replace('Z', '000');
    return digits ? text.slice(0, 20 + number(digits)) : text.slice(0, 19);
  },
  CURDATE: () => new Date().toISOString().slice(0, 10),
  UNIX_TIMESTAMP: () => Math.floor(Date.now() / 1000),
  CAST: (value) => value ?? null,
};

const aggregate = (expr: Extract<Expr, { kind: 'call' }>, rows: readonly Scope[]): Value => {
  if (expr.star) return rows.length;
  const values = rows.map((row) => evaluate(expr.args[0] as Expr, row)).filter((value) => value !== null);
  switch (expr.name) {
    case 'COUNT':
      return values.length;
    case 'SUM':
      // Decimals add up exactly; what is held as a float is not let drift.
      return values.length === 0
        ? null
        : Number(values.reduce<number>((sum, value) => sum + number(value), 0).toFixed(6));
    case 'AVG':
      return values.length === 0 ? null : values.reduce<number>((sum, value) => sum + number(value), 0) / values.length;
    case 'GROUP_CONCAT':
      return values.length === 0 ? null : values.map(text).join(',');
    default:
      return values.reduce<Value>(
        (best, value) =>
          best === null || (expr.name === 'MAX' ? compare(value, best) > 0 : compare(value, best) < 0) ? value : best,
        null,
      );
  }
};

const operate = (expr: Extract<Expr, { kind: 'op' }>, scope: Scope): Value => {
  const { op, args } = expr;
  const [first, second] = args as [Expr, Expr];
  const left = op === 'CASE' ? null : evaluate(first, scope);
  switch (op) {
    case 'AND':
      return bool(truthy(left) && truthy(evaluate(second, scope)));
    case 'OR':
      return bool(truthy(left) || truthy(evaluate(second, scope)));
    case 'NOT':
      return left === null ? null : bool(!truthy(left));
    case 'NEG':
      return left === null ? null : -number(left);
    case 'IS NULL':
      return bool(left === null);
    case 'IS NOT NULL':
      return bool(left !== null);
    case 'CASE': {
      for (let index = 0; index + 1 < args.length; index += 2)
        if (truthy(evaluate(args[index] as Expr, scope))) return evaluate(args[index + 1] as Expr, scope);
      return evaluate(args.at(-1) as Expr, scope);
    }
    case 'IN': {
      const values = args
        .slice(1)
        .flatMap((arg) =>
          arg.kind === 'select' ? scope.select(arg.select).map((row) => row[0] ?? null) : [evaluate(arg, scope)],
        );
      return left === null ? null : bool(values.some((value) => value !== null && compare(left, value) === 0));
    }
    default: {
      const right = evaluate(second, scope);
      if (op === '<=>') return bool(compare(left, right) === 0);
      if (left === null || right === null) return null;
      if (op === 'LIKE') return bool(likePattern(String(right)).test(String(left)));
      if (op === 'REGEXP') return bool(new RegExp(String(right), 'i').test(String(left)));
      const matches = comparisons[op];
      if (matches) return bool(matches(compare(left, right)));
      return (arithmetic[op] as (a: number, b: number) => Value)(number(left), number(right));
    }
  }
};

export const evaluate = (expr: Expr, scope: Scope): Value => {
  switch (expr.kind) {
    case 'value':
      return expr.value;
    case 'column':
      return scope.column(expr.table, expr.name);
    case 'variable':
      return scope.variable(expr.name);
    case 'select':
      return scope.select(expr.select)[0]?.[0] ?? null;
    case 'op':
      return operate(expr, scope);
    case 'call': {
      if (AGGREGATES.has(expr.name)) return aggregate(expr, scope.group ?? []);
      if (expr.name === 'IF') {
        const [condition, yes, no] = expr.args as [Expr, Expr, Expr];
        return evaluate(truthy(evaluate(condition, scope)) ? yes : no, scope);
      }
      const args = expr.args.map((arg) => evaluate(arg, scope));
      const own = scope.call(expr.name, args);
      if (own !== undefined) return own;
      const known = FUNCTIONS[expr.name];
      if (!known) throw new SqlError(1305, '42000', `FUNCTION ${expr.name} does not exist`);
      return known(...args);
    }
  }
};
