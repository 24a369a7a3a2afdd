import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { Heap, type HeapRow } from '../../../page-store/heap.ts';
import type { MiniTransaction, PageStore } from '../../../page-store/page-store.ts';
import { SqlError, type Value } from '../wire/server-session.ts';
import type { ColumnDefinition, TableDefinition } from './sql-parser.ts';

/** The first page of a tablespace that holds rows. */
export const FIRST_ROW_PAGE = 3;

interface Row {
  values: readonly Value[];
  at: HeapRow | undefined;
}

/** Rows are written as JSON: what is in a page can be read by eye. */
const encodeRow = (values: readonly Value[]): Buffer => Buffer.from(JSON.stringify(values));

const isInteger = (type: string): boolean => /^(tiny|small|medium|big)?int|^bit|^year/.test(type);
const isNumber = (type: string): boolean => isInteger(type) || /^(decimal|float|double|numeric)/.test(type);

const convert = (column: ColumnDefinition, value: Value, row: number): Value => {
  if (value === null) {
    if (!column.nullable) throw new SqlError(1048, '23000', `Column '${column.name}' cannot be null`);
    return null;
  }
  if (isNumber(column.type)) {
    const converted = Number(value);
    if (Number.isNaN(converted))
      throw new SqlError(
        1366,
        'HY000',
        `Incorrect integer value: '${value}' for column '${column.name}' at row ${row}`,
      );
    const scale = /^(?:decimal|numeric)\(\d+,(\d+)\)/.exec(column.type)?.[1];
    if (scale !== undefined) return Number(converted.toFixed(Number(scale)));
    return isInteger(column.type) ? Math.round(converted) : converted;
  }
  const text = String(value);
  const length = /^(?:var)?(?:char|binary)\((\d+)\)/.exec(column.type)?.[1];
  if (length !== undefined && text.length > Number(length))
    throw new SqlError(1406, '22001', `Data too long for column '${column.name}' at row ${row}`);
  return text;
};

/** Where the rows of a table lie. */
export interface Rows {
  readonly existing: Iterable<Row>;
  change(work: (operations: RowOperations) => void): void;
}

interface RowOperations {
  insert(row: Row): void;
  remove(row: Row): void;
  replace(row: Row, values: readonly Value[]): void;
}

export const heapRows = (store: PageStore, space: number): Rows => {
  const heap = new Heap(store, space, FIRST_ROW_PAGE);
  return {
    existing: Array.from(heap.rows(), (at) => ({ values: JSON.parse(at.value.toString()) as Value[], at })),
    change: (work) =>
      store.transact((mtr: MiniTransaction) =>
        work({
          insert: (row) => {
            row.at = heap.insert(mtr, encodeRow(row.values));
          },
          remove: (row) => heap.remove(mtr, row.at as HeapRow),
          replace: (row, values) => {
            row.values = values;
            row.at = heap.replace(mtr, row.at as HeapRow, encodeRow(values));
          },
        }),
      ),
  };
};

/** MyISAM: a file, no redo. */
export const fileRows = (path: string): Rows => {
  const rows = new Set<Row>(
    (existsSync(path) ? readFileSync(path, 'utf8') : '')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => ({ values: JSON.parse(line) as Value[], at: undefined })),
  );
  return {
    existing: [...rows],
    change: (work) => {
      work({
        insert: (row) => rows.add(row),
        remove: (row) => rows.delete(row),
        replace: (row, values) => {
          row.values = values;
        },
      });
      writeFileSync(path, Array.from(rows, ({ values }) => `${JSON.stringify(values)}\n`).join(''), { mode: 0o640 });
    },
  };
};

/** One table: its rows in memory, every change through `Rows`. */
export class Table {
  readonly definition: TableDefinition;
  readonly #rows: Rows;
  readonly #live = new Set<Row>();
  readonly #byKey = new Map<string, Row>();
  readonly #key: readonly number[];
  #nextAuto = 1;

  constructor(definition: TableDefinition, rows: Rows) {
    this.definition = definition;
    this.#rows = rows;
    this.#key = definition.primary.map((name) => this.place(name));
    for (const row of rows.existing) this.#add(row);
  }

  place(name: string): number {
    const place = this.definition.columns.findIndex((column) => column.name.toLowerCase() === name.toLowerCase());
    if (place < 0) throw new SqlError(1054, '42S22', `Unknown column '${name}' in 'field list'`);
    return place;
  }

  get size(): number {
    return this.#live.size;
  }

  get nextAuto(): number {
    return this.#nextAuto;
  }

  /** In order of the primary key, or of insertion. */
  values(): readonly (readonly Value[])[] {
    return this.#ordered().map(({ values }) => values);
  }

  checksum(): number {
    return this.#ordered().reduce((sum, { values }) => crc32(encodeRow(values), sum), 0);
  }

  /** `undefined` in a row is what the table fills in. Nothing is changed where one row fails. */
  insert(
    rows: readonly (readonly (Value | undefined)[])[],
    mode: 'insert' | 'replace' | 'ignore',
    onDuplicate?: (existing: readonly Value[], given: readonly Value[]) => readonly Value[],
  ): { readonly affected: number; readonly insertId: number } {
    const fresh = new Map<string, Row>();
    const added: Row[] = [];
    const removed = new Set<Row>();
    const replaced = new Map<Row, readonly Value[]>();
    let auto = this.#nextAuto;
    let insertId = 0;
    for (const [index, given] of rows.entries()) {
      const values = this.definition.columns.map((column, place) => {
        const value = given[place];
        if (column.auto && (value === undefined || value === null || value === 0)) {
          insertId ||= auto;
          return auto++;
        }
        if (value !== undefined) return convert(column, value, index + 1);
        if (column.fallback !== undefined) return column.fallback;
        if (column.nullable) return null;
        throw new SqlError(1364, 'HY000', `Field '${column.name}' doesn't have a default value`);
      });
      for (const [place, column] of this.definition.columns.entries())
        if (column.auto) auto = Math.max(auto, Number(values[place]) + 1);
      const key = this.#keyOf(values);
      const earlier = key === undefined ? undefined : fresh.get(key);
      const existing = key === undefined ? undefined : this.#byKey.get(key);
      const clash = earlier ?? (existing && !removed.has(existing) ? existing : undefined);
      if (clash) {
        if (mode === 'ignore') continue;
        if (onDuplicate) {
          if (earlier) earlier.values = onDuplicate(earlier.values, values);
          else replaced.set(clash, onDuplicate(replaced.get(clash) ?? clash.values, values));
          continue;
        }
        if (mode === 'insert')
          throw new SqlError(
            1062,
            '23000',
            `Duplicate entry '${this.#key.map((place) => values[place]).join('-')}' for key 'PRIMARY'`,
          );
        if (earlier) added.splice(added.indexOf(earlier), 1);
        else removed.add(clash);
      }
      const row: Row = { values, at: undefined };
      added.push(row);
      if (key !== undefined) fresh.set(key, row);
    }
    this.#rows.change(({ insert, remove, replace }) => {
      for (const row of removed) {
        remove(row);
        this.#drop(row);
      }
      for (const [row, values] of replaced) replace(row, values);
      for (const row of added) {
        insert(row);
        this.#add(row);
      }
    });
    this.#nextAuto = Math.max(this.#nextAuto, auto);
    return { affected: added.length + removed.size + 2 * replaced.size, insertId };
  }

  update(change: (values: readonly Value[]) => readonly Value[] | undefined): number {
    const changes: (readonly [Row, readonly Value[]])[] = [];
    for (const row of this.#ordered()) {
      const next = change(row.values);
      if (!next) continue;
      const converted = this.definition.columns.map((column, place) =>
        convert(column, next[place] ?? null, changes.length + 1),
      );
      if (converted.some((value, place) => value !== row.values[place])) changes.push([row, converted]);
    }
    const moving = new Set(changes.map(([row]) => row));
    const taken = new Set<string>();
    for (const [, values] of changes) {
      const key = this.#keyOf(values);
      if (key === undefined) continue;
      const holder = this.#byKey.get(key);
      if (taken.has(key) || (holder && !moving.has(holder)))
        throw new SqlError(
          1062,
          '23000',
          `Duplicate entry '${this.#key.map((place) => values[place]).join('-')}' for key 'PRIMARY'`,
        );
      taken.add(key);
    }
    if (changes.length > 0)
      this.#rows.change(({ replace }) => {
        for (const [row] of changes) this.#drop(row);
        for (const [row, values] of changes) {
          replace(row, values);
          this.#add(row);
        }
      });
    return changes.length;
  }

  /** `wanted` gets the rows in `order`. */
  remove(
    wanted: (values: readonly Value[]) => boolean,
    limit = Number.POSITIVE_INFINITY,
    order: (a: readonly Value[], b: readonly Value[]) => number = () => 0,
  ): number {
    const rows = this.#ordered()
      .filter(({ values }) => wanted(values))
      .sort((a, b) => order(a.values, b.values))
      .slice(0, limit);
    if (rows.length > 0)
      this.#rows.change(({ remove }) => {
        for (const row of rows) {
          remove(row);
          this.#drop(row);
        }
      });
    return rows.length;
  }

  #ordered(): Row[] {
    const rows = [...this.#live];
    if (this.#key.length === 0) return rows;
    return rows.sort((a, b) => {
      for (const place of this.#key) {
        const [one, other] = [a.values[place] ?? null, b.values[place] ?? null];
        if (one === other) continue;
        if (typeof one === 'number' && typeof other === 'number') return one - other;
        return String(one) < String(other) ? -1 : 1;
      }
      return 0;
    });
  }

  #keyOf(values: readonly Value[]): string | undefined {
    return this.#key.length === 0 ? undefined : JSON.stringify(this.#key.map((place) => values[place]));
  }

  #add(row: Row): void {
    this.#live.add(row);
    const key = this.#keyOf(row.values);
    if (key !== undefined) this.#byKey.set(key, row);
    for (const [place, column] of this.definition.columns.entries())
      if (column.auto) this.#nextAuto = Math.max(this.#nextAuto, Number(row.values[place]) + 1);
  }

  #drop(row: Row): void {
    this.#live.delete(row);
    const key = this.#keyOf(row.values);
    if (key !== undefined && this.#byKey.get(key) === row) this.#byKey.delete(key);
  }
}
