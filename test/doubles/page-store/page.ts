import { createCipheriv, createDecipheriv } from 'node:crypto';
import { crc32 } from 'node:zlib';

// The frame of an InnoDB page: what XtraBackup looks at without knowing what is inside. The body is this store's own.

export const PAGE_SIZE = 16 * 1024;

const CHECKSUM = 0;
const NUMBER = 4;
const LSN = 16;
const TYPE = 24;
/** In page 0 of the system tablespace: the LSN of the last clean shutdown. In an encrypted page: its real type. */
const FLUSH_LSN = 26;
const SPACE = 34;
/** Where the body begins. */
export const BODY = 38;
/** Where the body ends. */
export const BODY_END = PAGE_SIZE - 8;

const ENCRYPTED_TYPE = 15;
export const FSP_TYPE = 8;
export const INDEX_TYPE = 17855;
export const SYSTEM_TYPE = 7;

const FSP_SPACE = BODY;
const FSP_PAGES = BODY + 8;
const FSP_FLAGS = BODY + 16;
const FSP_SEGMENT = BODY + 76;

/** Flags of a tablespace with `ROW_FORMAT=DYNAMIC`; bit 13 says that it is encrypted. */
export const PLAIN_FLAGS = 33;
export const ENCRYPTED_FLAG = 1 << 13;

// LSNs are numbers in here: a test never writes 2^53 bytes of redo.
export const pageLsn = (page: Buffer): number => Number(page.readBigUInt64BE(LSN));
export const setPageLsn = (page: Buffer, lsn: number): void => {
  page.writeBigUInt64BE(BigInt(lsn), LSN);
};
export const pageNumber = (page: Buffer): number => page.readUInt32BE(NUMBER);
export const pageType = (page: Buffer): number => page.readUInt16BE(TYPE);
export const flushLsn = (page: Buffer): number => Number(page.readBigUInt64BE(FLUSH_LSN));
export const setFlushLsn = (page: Buffer, lsn: number): void => {
  page.writeBigUInt64BE(BigInt(lsn), FLUSH_LSN);
};

export const pageSpace = (page: Buffer): number => page.readUInt32BE(SPACE);

/** Of page 0 of a tablespace. */
export const tablespaceFlags = (page: Buffer): number => page.readUInt32BE(FSP_FLAGS);
export const tablespacePages = (page: Buffer): number => page.readUInt32BE(FSP_PAGES);
export const setTablespacePages = (page: Buffer, pages: number): void => {
  page.writeUInt32BE(pages, FSP_PAGES);
};

/** Changes page 0 as an allocation in its tablespace does. */
export const touchHeader = (page: Buffer): void => {
  page.writeUInt32BE((page.readUInt32BE(FSP_SEGMENT) + 1) >>> 0, FSP_SEGMENT);
};

/** An empty page of a space, without LSN. */
export const emptyPage = (space: number, number: number, type: number): Buffer => {
  const page = Buffer.alloc(PAGE_SIZE);
  page.writeUInt32BE(number, NUMBER);
  page.writeUInt16BE(type, TYPE);
  page.writeUInt32BE(space, SPACE);
  return page;
};

/** Page 0 as `CREATE TABLE` writes it to the file at once; all else waits for the flush. */
export const headerPage = (space: number, flags: number, pages: number): Buffer => {
  const page = emptyPage(space, 0, FSP_TYPE);
  page.writeUInt32BE(space, FSP_SPACE);
  page.writeUInt32BE(pages, FSP_PAGES);
  page.writeUInt32BE(flags, FSP_FLAGS);
  return page;
};

const checksum = (page: Buffer): number =>
  (crc32(page.subarray(NUMBER, FLUSH_LSN)) ^ crc32(page.subarray(BODY, BODY_END))) >>> 0;

export const isZeroPage = (page: Buffer): boolean => page.equals(ZEROES.subarray(0, page.length));
const ZEROES = Buffer.alloc(PAGE_SIZE);

/** Whether the page is whole as it lies on disk. A page of zeroes was never written. */
export const isSound = (page: Buffer): boolean => page.readUInt32BE(CHECKSUM) === checksum(page) || isZeroPage(page);

/** What encrypts the pages of one tablespace. */
export interface TablespaceKey {
  /** 32 bytes. */
  readonly key: Buffer;
  /** 32 bytes, the first half is used. */
  readonly iv: Buffer;
}

/** The form a page has on disk: encrypted where there is a key (never page 0), and with its checksum. */
export const sealPage = (page: Buffer, key: TablespaceKey | undefined): Buffer => {
  const sealed = Buffer.from(page);
  if (key && pageNumber(page) !== 0) {
    const cipher = createCipheriv('aes-256-ctr', key.key, key.iv.subarray(0, 16));
    cipher.update(page.subarray(BODY, BODY_END)).copy(sealed, BODY);
    sealed.writeUInt16BE(ENCRYPTED_TYPE, TYPE);
    sealed.writeUInt16BE(pageType(page), FLUSH_LSN + 2);
  }
  const sum = checksum(sealed);
  sealed.writeUInt32BE(sum, CHECKSUM);
  sealed.writeUInt32BE(sum, BODY_END);
  sealed.writeUInt32BE(pageLsn(page) % 2 ** 32, BODY_END + 4);
  return sealed;
};

/** Reverses `sealPage`. */
export const openPage = (sealed: Buffer, key: TablespaceKey | undefined): Buffer => {
  const page = Buffer.from(sealed);
  page.writeUInt32BE(0, CHECKSUM);
  page.fill(0, BODY_END);
  if (pageType(sealed) !== ENCRYPTED_TYPE) return page;
  if (!key) throw new Error('an encrypted page needs its key');
  const decipher = createDecipheriv('aes-256-ctr', key.key, key.iv.subarray(0, 16));
  decipher.update(sealed.subarray(BODY, BODY_END)).copy(page, BODY);
  page.writeUInt16BE(sealed.readUInt16BE(FLUSH_LSN + 2), TYPE);
  page.writeUInt16BE(0, FLUSH_LSN + 2);
  return page;
};
