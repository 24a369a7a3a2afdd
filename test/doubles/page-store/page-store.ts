import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SYSTEM_FILE } from './data-files.ts';
import { INFO_AT, type MasterKeys } from './encryption-info.ts';
import { flushLsn, pageLsn, setFlushLsn, setPageLsn } from './page.ts';
import { recover } from './recover.ts';
import { freshLsn } from './redo-block.ts';
import { RedoLog } from './redo-log.ts';
import { encodeGroup, type RedoRecord } from './redo-record.ts';
import { scanRedo } from './scan-redo.ts';
import { Tablespace } from './tablespace.ts';
import { Tablespaces } from './tablespaces.ts';

/** A checkpoint leaves a record of this size behind it. */
const CHECKPOINT_BYTES = 9;
const FIRST_LSN = 45_790;
const SYSTEM_PAGES = 12 * 64;

export type StoreLog = (level: 'Note' | 'Warning' | 'ERROR', text: string) => void;

export interface StoreOptions {
  readonly directory: string;
  readonly masters: MasterKeys;
  readonly logFiles: number;
  readonly logFileBytes: number;
  readonly log: StoreLog;
}

interface CachedPage {
  readonly data: Buffer;
  /** Where the oldest change that is not in the file begins. */
  dirtyFrom: number | undefined;
}

/** Ranges in which two pages differ; near ones are joined. */
const differences = (before: Buffer, after: Buffer): readonly (readonly [number, number])[] => {
  const STRIDE = 64;
  const NEAR = 8;
  const ranges: [number, number][] = [];
  for (let at = 0; at < before.length; at += STRIDE) {
    const end = Math.min(at + STRIDE, before.length);
    if (before.compare(after, at, end, at, end) === 0) continue;
    for (let byte = at; byte < end; byte++) {
      if (before[byte] === after[byte]) continue;
      const last = ranges.at(-1);
      if (last && byte - last[1] < NEAR) last[1] = byte + 1;
      else ranges.push([byte, byte + 1]);
    }
  }
  return ranges;
};

/** Changes to pages and files that become durable together. */
export class MiniTransaction {
  readonly #store: PageStore;
  readonly #before = new Map<string, { readonly space: number; readonly number: number; readonly image: Buffer }>();
  readonly records: RedoRecord[] = [];

  constructor(store: PageStore) {
    this.#store = store;
  }

  /** The page to be changed in place. */
  page(space: number, number: number): Buffer {
    const page = this.#store.page(space, number);
    const key = `${space}:${number}`;
    if (!this.#before.has(key)) this.#before.set(key, { space, number, image: Buffer.from(page) });
    return page;
  }

  /** The wrapped key of a tablespace is logged as one record. */
  writeInfo(space: number, info: Buffer): void {
    const page = this.page(space, 0);
    info.copy(page, INFO_AT);
    info.copy((this.#before.get(`${space}:0`) as { image: Buffer }).image, INFO_AT);
    this.records.push({ kind: 'write', space, page: 0, offset: INFO_AT, data: Buffer.from(info) });
  }

  /** All of it as redo, file operations first. */
  finish(): { readonly redo: readonly RedoRecord[]; readonly pages: readonly { space: number; number: number }[] } {
    const redo: RedoRecord[] = [...this.records];
    for (const { space, number, image } of this.#before.values()) {
      const page = this.#store.page(space, number);
      for (const [from, to] of differences(image, page))
        redo.push({ kind: 'write', space, page: number, offset: from, data: Buffer.from(page.subarray(from, to)) });
    }
    return { redo, pages: [...this.#before.values()] };
  }
}

const newLog = (options: StoreOptions, lsn: number): RedoLog =>
  RedoLog.create(options.directory, { files: options.logFiles, fileBytes: options.logFileBytes, lsn });

/** The server's side of the page store: a buffer pool, redo before pages, pages lazily, checkpoints. */
export class PageStore {
  readonly tablespaces: Tablespaces;
  readonly #log: RedoLog;
  readonly say: StoreLog;
  readonly #pool = new Map<number, Map<number, CachedPage>>();
  /** 0 flushes at once, 99 and more never by itself; as `innodb_max_dirty_pages_pct`. */
  maxDirtyPercent = 75;

  private constructor(tablespaces: Tablespaces, log: RedoLog, say: StoreLog) {
    this.tablespaces = tablespaces;
    this.#log = log;
    this.say = say;
  }

  /** Makes the files of an empty server. */
  static initialize(options: StoreOptions): PageStore {
    const tablespaces = new Tablespaces(options.directory, options.masters, () => {});
    Tablespace.create(options.directory, SYSTEM_FILE, 0, 0, SYSTEM_PAGES).close();
    tablespaces.open(SYSTEM_FILE);
    const lsn = freshLsn(FIRST_LSN);
    options.log('Warning', `InnoDB: New log files created, LSN=${lsn}`);
    const store = new PageStore(tablespaces, newLog(options, lsn), options.log);
    store.checkpoint();
    return store;
  }

  /** Opens what a server, or a restore, left behind; applies redo where it did not shut down. */
  static open(options: StoreOptions): PageStore {
    const { log: say } = options;
    const notDecryptable = (path: string, why: string) => {
      if (why === 'no-keyring')
        say('ERROR', "InnoDB: Encryption can't find master key, please check the keyring plugin is loaded.");
      if (why === 'other-key')
        say('ERROR', 'InnoDB: Failed to decrpt encryption information, please check key file is not changed!');
      say(
        'ERROR',
        `InnoDB: Encryption information in datafile: ./${path} can't be decrypted , please confirm the keyfile is match and keyring plugin is loaded.`,
      );
    };
    if (!existsSync(join(options.directory, SYSTEM_FILE))) throw new Error(`there is no ${SYSTEM_FILE}`);
    const tablespaces = new Tablespaces(options.directory, options.masters, notDecryptable);
    tablespaces.openAll();
    const existing = RedoLog.open(options.directory);
    if (!existing) {
      const lsn = freshLsn(flushLsn((tablespaces.get(0) as Tablespace).read(0)));
      say('Warning', `InnoDB: New log files created, LSN=${lsn}`);
      const store = new PageStore(tablespaces, newLog(options, lsn), say);
      store.checkpoint();
      return store;
    }
    const scan = scanRedo(existing, existing.checkpoint.lsn);
    if (
      scan.groups.length > 1 ||
      flushLsn((tablespaces.get(0) as Tablespace).read(0)) !== scan.completeTo - CHECKPOINT_BYTES
    ) {
      say('Note', `InnoDB: Doing recovery: scanned up to log sequence number ${scan.scannedTo}`);
      say('Note', 'InnoDB: Database was not shutdown normally!');
      say('Note', 'InnoDB: Starting crash recovery.');
    }
    recover(tablespaces, scan, {
      nothingToDelete: () => {},
      corruptRecord: (space) =>
        say('ERROR', `InnoDB: Encryption information in the redo log of space ${space} is invalid`),
      futurePage: (space, page, lsn) => say('ERROR', futureLine(space, page, lsn, scan.scannedTo)),
      closedFile: (path) => {
        tablespaces.open(path);
      },
    });
    existing.continueAt(scan.completeTo);
    const store = new PageStore(tablespaces, existing, say);
    store.checkpoint();
    if (existing.fileBytes === options.logFileBytes) return store;
    say(
      'Warning',
      `InnoDB: Resizing redo log from ${existing.fileBytes} to ${options.logFileBytes} bytes, LSN=${store.lsn}`,
    );
    existing.close();
    const resized = new PageStore(tablespaces, newLog(options, freshLsn(store.lsn)), say);
    resized.checkpoint();
    return resized;
  }

  get lsn(): number {
    return this.#log.lsn;
  }

  get checkpointLsn(): number {
    return this.#log.checkpoint.lsn;
  }

  get dirtyPages(): number {
    return [...this.#dirty()].length;
  }

  page(space: number, number: number): Buffer {
    const pages = this.#pool.get(space) ?? new Map<number, CachedPage>();
    this.#pool.set(space, pages);
    let cached = pages.get(number);
    if (!cached) {
      const tablespace = this.tablespaces.get(space);
      if (!tablespace) throw new Error(`space ${space} is not open`);
      cached = { data: tablespace.read(number), dirtyFrom: undefined };
      if (pageLsn(cached.data) > this.lsn) this.say('ERROR', futureLine(space, number, pageLsn(cached.data), this.lsn));
      pages.set(number, cached);
    }
    return cached.data;
  }

  /** Runs `change` and makes what it did durable. It must not fail after its first change. */
  transact<T>(change: (mtr: MiniTransaction) => T): T {
    const mtr = new MiniTransaction(this);
    const result = change(mtr);
    this.commit(mtr);
    return result;
  }

  commit(mtr: MiniTransaction): void {
    const { redo, pages } = mtr.finish();
    if (redo.length === 0) return;
    const bytes = encodeGroup(redo);
    this.#makeRoom(bytes.length);
    const { start, end } = this.#log.append(bytes);
    for (const { space, number } of pages) {
      const cached = this.#pool.get(space)?.get(number);
      if (!cached) continue;
      setPageLsn(cached.data, end);
      cached.dirtyFrom ??= start;
    }
    this.#flushSome();
  }

  /** Drops what is in memory of a space that is deleted. */
  forget(space: number): void {
    this.#pool.delete(space);
  }

  /** Writes every dirty page and makes a checkpoint. */
  checkpoint(): void {
    for (const [space, number, cached] of this.#dirty()) this.#flush(space, number, cached);
    // A record that goes over the end of a block takes more than its size: as in InnoDB, that counts as a change, and the next checkpoint follows.
    while (this.lsn !== this.checkpointLsn + CHECKPOINT_BYTES) {
      const { lsn } = this.#log;
      this.#log.append(encodeGroup([{ kind: 'checkpoint', lsn }]));
      this.#log.writeCheckpoint(lsn);
    }
  }

  /** A clean shutdown. */
  close(): void {
    this.checkpoint();
    const system = this.tablespaces.get(0);
    if (system) {
      const first = system.read(0);
      setFlushLsn(first, this.checkpointLsn);
      system.write(0, first);
    }
    this.tablespaces.close();
    this.#log.close();
  }

  *#dirty(): Generator<[number, number, CachedPage]> {
    for (const [space, pages] of this.#pool)
      for (const [number, cached] of pages) if (cached.dirtyFrom !== undefined) yield [space, number, cached];
  }

  #flush(space: number, number: number, cached: CachedPage): void {
    this.tablespaces.get(space)?.write(number, cached.data);
    cached.dirtyFrom = undefined;
  }

  /** A few dirty pages go to disk ahead of the checkpoint, always the same ones for the same history. */
  #flushSome(): void {
    if (this.maxDirtyPercent === 0) this.checkpoint();
    if (this.maxDirtyPercent >= 99) return;
    for (const [space, number, cached] of this.#dirty())
      if ((space * 31 + number * 17 + this.lsn) % 5 === 0) this.#flush(space, number, cached);
  }

  #makeRoom(bytes: number): void {
    if (this.lsn + bytes * 1.04 - this.checkpointLsn > this.#log.capacity * 0.8) this.checkpoint();
  }
}

export const futureLine = (space: number, page: number, lsn: number, current: number): string =>
  `InnoDB: Page [page id: space=${space}, page number=${page}] log sequence number ${lsn} is in the future! Current system log sequence number ${current}.`;
