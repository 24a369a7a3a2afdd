import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { POSITION_PAGE, writePosition } from '../../../page-store/binlog-position.ts';
import {
  type DictionaryEntry,
  decodeEntry,
  encodeEntry,
  FIRST_DICTIONARY_PAGE,
  isEncrypted,
} from '../../../page-store/dictionary.ts';
import { infoMaster, infoOfPage, wrapKey } from '../../../page-store/encryption-info.ts';
import { Heap, type HeapRow } from '../../../page-store/heap.ts';
import { ENCRYPTED_FLAG, headerPage, PLAIN_FLAGS, type TablespaceKey, touchHeader } from '../../../page-store/page.ts';
import type { PageStore } from '../../../page-store/page-store.ts';
import { INITIAL_PAGES } from '../../../page-store/tablespace.ts';
import { SqlError, type Value } from '../wire/server-session.ts';
import type { MasterKeyring } from './master-keyring.ts';
import type { ColumnDefinition, TableDefinition } from './sql-parser.ts';
import { fileRows, heapRows, Table } from './table.ts';

interface StoredEntry {
  entry: DictionaryEntry;
  row: HeapRow;
}

const key = (database: string, table: string): string => `${database}/${table}`;

const noSuchTable = (database: string, table: string): SqlError =>
  new SqlError(1146, '42S02', `Table '${database}.${table}' doesn't exist`);

/** A name as a file: MySQL encodes what file systems may not like. */
export const fileName = (name: string): string => (name.startsWith('#sql') ? name : encoded(name));

const encoded = (name: string): string =>
  name
    .replaceAll(/[^\w#-]/g, (letter) => `@${letter.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .replaceAll('-', '@002d');

const tableOf = (file: string): string =>
  file.replaceAll(/@([0-9a-f]{4})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));

/** The tables of a server: their definitions (`.frm`), the InnoDB dictionary, their rows. */
export class Database {
  readonly store: PageStore;
  readonly directory: string;
  readonly #keyring: MasterKeyring;
  readonly #uuid: string;
  readonly #dictionary: Heap;
  readonly #entries = new Map<string, StoredEntry>();
  readonly #tables = new Map<string, Table>();
  #nextSpace = 1;

  constructor(store: PageStore, directory: string, keyring: MasterKeyring, uuid: string) {
    this.store = store;
    this.directory = directory;
    this.#keyring = keyring;
    this.#uuid = uuid;
    this.#dictionary = new Heap(store, 0, FIRST_DICTIONARY_PAGE);
    for (const row of this.#dictionary.rows()) {
      const entry = decodeEntry(row.value);
      this.#nextSpace = Math.max(this.#nextSpace, entry.space + 1);
      // The highest space ever used is remembered by an entry without a name.
      if (entry.name !== '') this.#entries.set(entry.name, { entry, row });
    }
  }

  get uuid(): string {
    return this.#uuid;
  }

  databases(): readonly string[] {
    return readdirSync(this.directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && existsSync(join(this.directory, entry.name, 'db.opt')))
      .map(({ name }) => tableOf(name))
      .sort();
  }

  tables(database: string): readonly string[] {
    this.#needDatabase(database);
    return readdirSync(join(this.directory, fileName(database)))
      .filter((file) => file.endsWith('.frm') && !file.startsWith('#sql'))
      .map((file) => tableOf(file.slice(0, -4)))
      .sort();
  }

  entries(): readonly DictionaryEntry[] {
    return Array.from(this.#entries.values(), ({ entry }) => entry);
  }

  entry(database: string, table: string): DictionaryEntry | undefined {
    return this.#entries.get(key(fileName(database), fileName(table)))?.entry;
  }

  hasDatabase(database: string): boolean {
    return existsSync(join(this.directory, fileName(database), 'db.opt'));
  }

  hasTable(database: string, table: string): boolean {
    return existsSync(this.#path(database, table, 'frm'));
  }

  createDatabase(database: string): void {
    mkdirSync(join(this.directory, fileName(database)), { mode: 0o750 });
    writeFileSync(
      join(this.directory, fileName(database), 'db.opt'),
      'default-character-set=latin1\ndefault-collation=latin1_swedish_ci\n',
      { mode: 0o640 },
    );
  }

  dropDatabase(database: string): void {
    this.#needDatabase(database);
    for (const table of this.tables(database)) this.dropTable(database, table);
    unlinkSync(join(this.directory, fileName(database), 'db.opt'));
    rmdirSync(join(this.directory, fileName(database)));
  }

  definition(database: string, table: string): TableDefinition {
    const path = this.#path(database, table, 'frm');
    if (!existsSync(path)) throw noSuchTable(database, table);
    return JSON.parse(readFileSync(path, 'utf8')) as TableDefinition;
  }

  isInnodb(database: string, table: string): boolean {
    return isInnodb(this.definition(database, table));
  }

  /** The table, its rows read. Throws as the server does for one it cannot open. */
  table(database: string, table: string): Table {
    const cached = this.#tables.get(key(database, table));
    if (cached) return cached;
    const definition = this.definition(database, table);
    const opened = isInnodb(definition)
      ? new Table(definition, heapRows(this.store, this.#openSpace(database, table)))
      : new Table(definition, fileRows(this.#path(database, table, 'MYD')));
    this.#tables.set(key(database, table), opened);
    return opened;
  }

  createTable(database: string, table: string, definition: TableDefinition): Table {
    this.#needDatabase(database);
    if (isInnodb(definition)) {
      this.#createSpace(key(fileName(database), fileName(table)), wantsEncryption(definition));
    } else {
      writeFileSync(this.#path(database, table, 'MYD'), '', { mode: 0o640 });
      writeFileSync(this.#path(database, table, 'MYI'), Buffer.alloc(1024), { mode: 0o640 });
    }
    this.#writeDefinition(database, table, definition);
    return this.table(database, table);
  }

  dropTable(database: string, table: string): void {
    const definition = this.definition(database, table);
    this.#tables.delete(key(database, table));
    unlinkSync(this.#path(database, table, 'frm'));
    if (isInnodb(definition)) this.#dropSpace(key(fileName(database), fileName(table)));
    else for (const suffix of ['MYD', 'MYI']) unlinkSync(this.#path(database, table, suffix));
  }

  /** A new tablespace takes the place of the old one. */
  truncate(database: string, table: string): void {
    const definition = this.definition(database, table);
    if (isInnodb(definition)) {
      const name = key(fileName(database), fileName(table));
      if (!this.#entries.has(name)) throw noSuchTable(database, table);
      this.#openSpace(database, table);
      this.#dropSpace(name);
      this.#createSpace(name, wantsEncryption(definition));
    } else writeFileSync(this.#path(database, table, 'MYD'), '');
    this.#tables.delete(key(database, table));
  }

  /** `ALTER TABLE` by copying: into a new tablespace, which then takes the name. */
  rebuild(database: string, table: string, options: TableDefinition['options'], added?: ColumnDefinition): void {
    const before = this.definition(database, table);
    const definition: TableDefinition = {
      ...before,
      columns: added ? [...before.columns, added] : before.columns,
      options: { ...before.options, ...options },
    };
    const rows = this.table(database, table).values();
    const extra: Value[] = added ? [added.fallback ?? (added.nullable ? null : /int/.test(added.type) ? 0 : '')] : [];
    const temporary = `#sql-${randomBytes(2).toString('hex')}_${randomBytes(1).toString('hex')}`;
    const copy = this.createTable(database, temporary, definition);
    copy.insert(
      rows.map((row) => [...row, ...extra]),
      'insert',
    );
    this.dropTable(database, table);
    this.rename(database, temporary, database, table);
  }

  rename(fromDatabase: string, from: string, toDatabase: string, to: string): void {
    this.#needDatabase(toDatabase);
    const definition = this.definition(fromDatabase, from);
    if (this.hasTable(toDatabase, to)) throw new SqlError(1050, '42S01', `Table '${to}' already exists`);
    const oldName = key(fileName(fromDatabase), fileName(from));
    const newName = key(fileName(toDatabase), fileName(to));
    const stored = this.#entries.get(oldName);
    this.#tables.delete(key(fromDatabase, from));
    renameSync(this.#path(fromDatabase, from, 'frm'), this.#path(toDatabase, to, 'frm'));
    if (!isInnodb(definition)) {
      for (const suffix of ['MYD', 'MYI'])
        renameSync(this.#path(fromDatabase, from, suffix), this.#path(toDatabase, to, suffix));
      return;
    }
    if (!stored) throw noSuchTable(fromDatabase, from);
    this.store.transact((mtr) => {
      mtr.records.push({ kind: 'rename', space: stored.entry.space, from: oldName, to: newName });
      const entry = { ...stored.entry, name: newName };
      const row = this.#dictionary.replace(mtr, stored.row, encodeEntry(entry));
      this.#entries.delete(oldName);
      this.#entries.set(newName, { entry, row });
    });
    this.store.tablespaces.rename(stored.entry.space, `${newName}.ibd`);
  }

  /** Built without redo, as 5.7 builds indexes; the log only says that it happened. */
  addIndex(database: string, table: string): void {
    const entry = this.entry(database, table);
    if (!entry) throw noSuchTable(database, table);
    this.store.transact((mtr) => mtr.records.push({ kind: 'index-load', space: entry.space }));
  }

  /** A new master key, and every tablespace key wrapped by it. */
  rotateMasterKey(): void {
    this.#needKeyring();
    const master = this.#keyring.generate(this.#uuid);
    for (const { entry } of this.#entries.values()) {
      if (!isEncrypted(entry)) continue;
      const tablespace = this.store.tablespaces.get(entry.space) ?? this.store.tablespaces.open(`${entry.name}.ibd`);
      if (!tablespace?.key) continue;
      const info = wrapKey(tablespace.key, master.key, this.#uuid, master.id);
      this.store.transact((mtr) => mtr.writeInfo(entry.space, info));
    }
  }

  /** Which master key wraps the key of an encrypted table. */
  masterOf(entry: DictionaryEntry): { readonly uuid: string; readonly id: number } {
    return infoMaster(infoOfPage(this.store.page(entry.space, 0)));
  }

  /** Remembered by InnoDB with whatever is committed next. */
  notePosition(file: string, position: number): void {
    this.store.transact((mtr) => {
      writePosition(mtr.page(0, POSITION_PAGE), { file, position });
      // Undo and the like allocate there all the time.
      touchHeader(mtr.page(0, 0));
    });
  }

  /** Space of a table that can be read. Throws as the server does. */
  #openSpace(database: string, table: string): number {
    const entry = this.entry(database, table);
    if (!entry) throw noSuchTable(database, table);
    const { tablespaces } = this.store;
    if (tablespaces.get(entry.space)) return entry.space;
    this.store.say(
      'ERROR',
      `InnoDB: Failed to find tablespace for table \`${database}\`.\`${table}\` in the cache. Attempting to load the tablespace with space id ${entry.space}`,
    );
    const opened = tablespaces.open(`${entry.name}.ibd`);
    if (opened) return entry.space;
    if (isEncrypted(entry))
      throw new SqlError(3185, 'HY000', "Can't find master key from keyring, please check keyring plugin is loaded.");
    throw new SqlError(1812, 'HY000', `Tablespace is missing for table \`${database}\`.\`${table}\`.`);
  }

  #createSpace(name: string, encrypted: boolean): void {
    if (encrypted) this.#needKeyring();
    const space = this.#nextSpace++;
    const flags = encrypted ? PLAIN_FLAGS | ENCRYPTED_FLAG : PLAIN_FLAGS;
    this.store.transact((mtr) => {
      const tablespace = this.store.tablespaces.create(`${name}.ibd`, space, flags);
      mtr.records.push({ kind: 'create', space, flags, name });
      headerPage(space, flags, INITIAL_PAGES).copy(mtr.page(space, 0));
      // Something of page 0 is always logged, so that recovery gives it an LSN.
      mtr.page(space, 0).writeUInt32BE(INITIAL_PAGES, 38 + 12);
      if (encrypted) {
        const wrapping: TablespaceKey = { key: randomBytes(32), iv: randomBytes(32) };
        const master = this.#masterKey();
        tablespace.useKey(wrapping);
        mtr.writeInfo(space, wrapKey(wrapping, master.key, this.#uuid, master.id));
      }
      const entry: DictionaryEntry = { name, space, flags };
      const row = this.#dictionary.insert(mtr, encodeEntry(entry));
      this.#entries.set(name, { entry, row });
    });
  }

  #dropSpace(name: string): void {
    const stored = this.#entries.get(name);
    if (!stored) return;
    this.store.transact((mtr) => {
      mtr.records.push({ kind: 'delete', space: stored.entry.space, name });
      this.#dictionary.remove(mtr, stored.row);
      // No space is ever used twice.
      this.#dictionary.insert(mtr, encodeEntry({ name: '', space: stored.entry.space, flags: 0 }));
    });
    this.#entries.delete(name);
    this.store.forget(stored.entry.space);
    this.store.tablespaces.delete(stored.entry.space);
  }

  #masterKey(): { readonly id: number; readonly key: Buffer } {
    const id = this.#keyring.newest(this.#uuid);
    const found = this.#keyring.get(`INNODBKey-${this.#uuid}-${id}`);
    return found ? { id, key: found } : this.#keyring.generate(this.#uuid);
  }

  #needKeyring(): void {
    if (!this.#keyring.usable)
      throw new SqlError(3185, 'HY000', "Can't find master key from keyring, please check keyring plugin is loaded.");
  }

  #needDatabase(database: string): void {
    if (!this.hasDatabase(database)) throw new SqlError(1049, '42000', `Unknown database '${database}'`);
  }

  #writeDefinition(database: string, table: string, definition: TableDefinition): void {
    writeFileSync(this.#path(database, table, 'frm'), JSON.stringify(definition), { mode: 0o640 });
  }

  #path(database: string, table: string, suffix: string): string {
    return join(this.directory, fileName(database), `${fileName(table)}.${suffix}`);
  }
}

export const isInnodb = (definition: TableDefinition): boolean => /^(innodb)?$/i.test(definition.options.ENGINE ?? '');

export const wantsEncryption = (definition: TableDefinition): boolean =>
  /^y$/i.test(definition.options.ENCRYPTION ?? '');
