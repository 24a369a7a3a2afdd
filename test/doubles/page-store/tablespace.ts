import { closeSync, fstatSync, ftruncateSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { infoOfPage, type MasterKeys, type Unwrapped, unwrapKey } from './encryption-info.ts';
import {
  ENCRYPTED_FLAG,
  headerPage,
  openPage,
  PAGE_SIZE,
  pageSpace,
  sealPage,
  type TablespaceKey,
  tablespaceFlags,
} from './page.ts';

/** Pages of a new table. */
export const INITIAL_PAGES = 6;

export type OpenedTablespace =
  | { readonly kind: 'opened'; readonly tablespace: Tablespace }
  | { readonly kind: 'absent' }
  | { readonly kind: 'not-decryptable'; readonly why: Exclude<Unwrapped['kind'], 'key'>; readonly space: number };

/** A tablespace's file. */
export class Tablespace {
  path: string;
  readonly space: number;
  readonly #file: number;
  #key: TablespaceKey | undefined;

  private constructor(path: string, space: number, file: number, key: TablespaceKey | undefined) {
    this.path = path;
    this.space = space;
    this.#file = file;
    this.#key = key;
  }

  /** `path` is relative to the data directory. */
  static open(directory: string, path: string, masters: MasterKeys, mode: 'r' | 'r+' = 'r+'): OpenedTablespace {
    let file: number;
    try {
      file = openSync(join(directory, path), mode);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { kind: 'absent' };
      throw error;
    }
    const first = Buffer.alloc(PAGE_SIZE);
    readSync(file, first, 0, PAGE_SIZE, 0);
    if ((tablespaceFlags(first) & ENCRYPTED_FLAG) === 0)
      return { kind: 'opened', tablespace: new Tablespace(path, pageSpace(first), file, undefined) };
    const unwrapped = unwrapKey(infoOfPage(first), masters, pageSpace(first));
    if (unwrapped.kind !== 'key') {
      closeSync(file);
      return { kind: 'not-decryptable', why: unwrapped.kind, space: pageSpace(first) };
    }
    return { kind: 'opened', tablespace: new Tablespace(path, pageSpace(first), file, unwrapped.key) };
  }

  /** The file as `CREATE TABLE` leaves it: a bare first page and nothing else. Throws where it exists. */
  static create(directory: string, path: string, space: number, flags: number, pages = INITIAL_PAGES): Tablespace {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    const file = openSync(join(directory, path), 'wx+', 0o640);
    writeSync(file, sealPage(headerPage(space, flags, pages), undefined), 0, PAGE_SIZE, 0);
    ftruncateSync(file, pages * PAGE_SIZE);
    return new Tablespace(path, space, file, undefined);
  }

  useKey(key: TablespaceKey): void {
    this.#key = key;
  }

  get flags(): number {
    const page = Buffer.alloc(PAGE_SIZE);
    readSync(this.#file, page, 0, PAGE_SIZE, 0);
    return tablespaceFlags(page);
  }

  get key(): TablespaceKey | undefined {
    return this.#key;
  }

  get pages(): number {
    return Math.floor(fstatSync(this.#file).size / PAGE_SIZE);
  }

  /** A page past the end is one of zeroes. */
  read(number: number): Buffer {
    const page = Buffer.alloc(PAGE_SIZE);
    readSync(this.#file, page, 0, PAGE_SIZE, number * PAGE_SIZE);
    return openPage(page, this.#key);
  }

  write(number: number, page: Buffer): void {
    writeSync(this.#file, sealPage(page, this.#key), 0, PAGE_SIZE, number * PAGE_SIZE);
  }

  close(): void {
    closeSync(this.#file);
  }
}
