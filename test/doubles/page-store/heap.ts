import { BODY, BODY_END, emptyPage, INDEX_TYPE, pageType, setTablespacePages, tablespacePages } from './page.ts';
import type { MiniTransaction, PageStore } from './page-store.ts';

// Rows in the pages of a tablespace, in no order. A page: the end of what is used (2 bytes), then per row its length (2 bytes) and its bytes.

const USED = BODY;
const ROWS = BODY + 2;
const DELETED = 0x8000;

/** Bytes a row can have. */
export const LONGEST_ROW = BODY_END - ROWS - 2;

export interface HeapRow {
  page: number;
  /** Of its length. */
  offset: number;
  value: Buffer;
}

/** The live rows of a page; none in a page that is not one of a heap. */
export function* rowsInPage(page: Buffer): Generator<{ readonly offset: number; readonly value: Buffer }> {
  if (pageType(page) !== INDEX_TYPE) return;
  const used = page.readUInt16BE(USED);
  for (let offset = ROWS; offset < used; ) {
    const length = page.readUInt16BE(offset);
    const bytes = length & ~DELETED;
    if ((length & DELETED) === 0) yield { offset, value: Buffer.from(page.subarray(offset + 2, offset + 2 + bytes)) };
    offset += 2 + bytes;
  }
}

export class Heap {
  readonly #store: PageStore;
  readonly #space: number;
  readonly #rows = new Set<HeapRow>();
  #last: number;

  /** `first` is the first page that belongs to it; all later ones do. */
  constructor(store: PageStore, space: number, first: number) {
    this.#store = store;
    this.#space = space;
    this.#last = first;
    const pages = store.tablespaces.get(space)?.pages ?? 0;
    const known = Math.max(pages, tablespacePages(store.page(space, 0)));
    for (let number = first; number < known; number++) this.#load(number);
  }

  /** Live rows. */
  rows(): Iterable<HeapRow> {
    return this.#rows;
  }

  insert(mtr: MiniTransaction, value: Buffer): HeapRow {
    if (value.length > LONGEST_ROW) throw new RangeError('Row size too large');
    const page = this.#pageWithRoom(mtr, value.length + 2);
    const used = page.readUInt16BE(USED);
    page.writeUInt16BE(value.length, used);
    value.copy(page, used + 2);
    page.writeUInt16BE(used + 2 + value.length, USED);
    const row = { page: this.#last, offset: used, value };
    this.#rows.add(row);
    return row;
  }

  remove(mtr: MiniTransaction, row: HeapRow): void {
    const page = mtr.page(this.#space, row.page);
    page.writeUInt16BE(row.value.length | DELETED, row.offset);
    this.#rows.delete(row);
  }

  replace(mtr: MiniTransaction, row: HeapRow, value: Buffer): HeapRow {
    if (value.length !== row.value.length) {
      this.remove(mtr, row);
      return this.insert(mtr, value);
    }
    value.copy(mtr.page(this.#space, row.page), row.offset + 2);
    row.value = value;
    return row;
  }

  #load(number: number): void {
    const page = this.#store.page(this.#space, number);
    if (pageType(page) === INDEX_TYPE) this.#last = Math.max(this.#last, number);
    for (const { offset, value } of rowsInPage(page)) this.#rows.add({ page: number, offset, value });
  }

  #pageWithRoom(mtr: MiniTransaction, bytes: number): Buffer {
    let page = mtr.page(this.#space, this.#last);
    if (pageType(page) !== INDEX_TYPE) return this.#format(mtr, this.#last);
    if (page.readUInt16BE(USED) + bytes <= BODY_END) return page;
    this.#last += 1;
    page = this.#format(mtr, this.#last);
    return page;
  }

  #format(mtr: MiniTransaction, number: number): Buffer {
    const page = mtr.page(this.#space, number);
    emptyPage(this.#space, number, INDEX_TYPE).copy(page);
    page.writeUInt16BE(ROWS, USED);
    if (number >= tablespacePages(this.#store.page(this.#space, 0)))
      setTablespacePages(mtr.page(this.#space, 0), number + 1);
    return page;
  }
}
