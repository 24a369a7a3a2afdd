import { createCipheriv, createDecipheriv } from 'node:crypto';
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import type { KeyringKey } from './keyring-key.ts';

/** Where page 0 of a tablespace carries how it is encrypted: behind the file space header and the extent descriptors. */
const infoOffset = (logicalPage: number, physicalPage: number): number => {
  const extentPages = logicalPage < 16_384 ? (1024 * 1024) / logicalPage : 64;
  const descriptorBytes = 24 + Math.ceil((extentPages * 2) / 8);
  return 150 + descriptorBytes * (physicalPage / extentPages);
};

/** CRC-32C, which InnoDB calls crc32. */
const crc32c = (data: Buffer): number => {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
};

/** Of MariaDB page 0 says which key, the next ones show whether it is the right one. */
const MARIADB_PAGES = 4;
const SETTLE_MS = 500;

const readStart = async (path: string, bytes: number): Promise<Buffer | undefined> => {
  try {
    await using file = await open(path, 'r');
    const buffer = Buffer.alloc(bytes);
    const { bytesRead } = await file.read(buffer, 0, bytes, 0);
    return buffer.subarray(0, bytesRead);
  } catch {
    // Dropped in the meantime.
    return undefined;
  }
};

/** Tablespace key and IV, wrapped by the master key: 64 bytes and their checksum. */
const WRAPPED = 64;
const UUID = 36;

/** `lCB` is 5.7's (its id has eight bytes, recorded in 86), `lCC` 8's. */
const MYSQL_LAYOUTS: Readonly<Record<string, { readonly uuidAt: number }>> = {
  lCB: { uuidAt: 11 },
  lCC: { uuidAt: 7 },
};

const FLAGS_AT = 54;
/** Bits 1 to 4 of MySQL's flags: the size of its pages on the disk, where they are compressed. */
const COMPRESSED = 0b11110;

/**
 * Whether the first page of MySQL's encrypted tablespace in the file `path` does not say yet how it is encrypted: `CREATE TABLE` leaves a bare
 * one, the rest comes with a flush. `false` where it cannot be judged (gone, compressed pages).
 */
export const isFirstPageUnwritten = async (path: string, pageSize: number): Promise<boolean> => {
  const page = await readStart(path, pageSize);
  if (page === undefined) return false;
  const at = infoOffset(pageSize, pageSize);
  if (page.length < at + 3) return true;
  return (page.readUInt32BE(FLAGS_AT) & COMPRESSED) === 0 && page.readUIntBE(at, 3) === 0;
};

interface WrappedKey {
  /** Of the master key it is wrapped by. */
  readonly name: string;
  readonly wrapped: Buffer;
  readonly sum: number;
}

/** The key of an encrypted tablespace, as page 0 carries it; `undefined` where it carries none or is of another layout. */
const wrappedKeyOn = (page: Buffer, pageSize: number): WrappedKey | undefined => {
  const at = infoOffset(pageSize, pageSize);
  const layout = MYSQL_LAYOUTS[page.toString('latin1', at, at + 3)];
  if (layout === undefined || page.length < at + layout.uuidAt + UUID + WRAPPED + 4) return undefined;
  const uuidAt = at + layout.uuidAt;
  const uuid = page.toString('latin1', uuidAt, uuidAt + UUID);
  // Between two states of the server: no key is named yet.
  if (!/^[0-9a-fA-F-]{36}$/.test(uuid)) return undefined;
  return {
    name: `INNODBKey-${uuid}-${page.readUInt32BE(at + 3)}`,
    wrapped: page.subarray(uuidAt + UUID, uuidAt + UUID + WRAPPED),
    sum: page.readUInt32BE(uuidAt + UUID + WRAPPED),
  };
};

const mysqlFault = (page: Buffer, pageSize: number, keys: readonly KeyringKey[]): string | undefined => {
  const found = wrappedKeyOn(page, pageSize);
  if (found === undefined) return undefined;
  const { name, wrapped, sum } = found;
  const master = keys.find((key) => key.name === name);
  if (master === undefined) return `its master key ${name} is not there`;
  const decipher = createDecipheriv(`aes-${master.bytes.length * 8}-ecb`, master.bytes, null).setAutoPadding(false);
  const plain = Buffer.concat([decipher.update(wrapped), decipher.final()]);
  const opens = sum === crc32c(plain) || sum === crc32(plain);
  plain.fill(0);
  return opens ? undefined : `the bytes under the name ${name} are not those of its master key`;
};

/**
 * The names of the master keys that the encrypted tablespaces among `paths` are wrapped by, in order: where a keyring is in a service, it is all
 * there is to see of it.
 */
export const masterKeyNames = async (paths: readonly string[], pageSize: number): Promise<readonly string[]> => {
  const names = new Set<string>();
  for (const path of paths) {
    const page = await readStart(path, pageSize);
    const found = page && wrappedKeyOn(page, pageSize);
    if (found !== undefined) names.add(found.name);
  }
  return [...names].sort();
};

const MARIADB_MAGIC = Buffer.from([0x73, 0x0e, 0x0c, 0x52, 0x45, 0x74]);
const FULL_CRC32 = 1 << 4;
/** MariaDB counts from the file space header, MySQL from the start of the page. */
const FILE_SPACE_HEADER = 38;
/** Everything from here on is encrypted, but for the checksum at the end (full_crc32). */
const ENCRYPTED_FROM = 26;

/** A page of a full_crc32 tablespace names its space at byte 34, encrypted with the rest: the right key shows it. */
const opensPage = (
  page: Buffer,
  space: Buffer,
  scheme: { iv: Buffer; key: Buffer; algorithm: 'ctr' | 'cbc' },
): boolean => {
  const bits = scheme.key.length * 8;
  // The page key is the tablespace's random bytes, encrypted with the key of the key file.
  const pageKey = createCipheriv(`aes-${bits}-ecb`, scheme.key, null).setAutoPadding(false).update(scheme.iv);
  // Space, page and LSN in the other byte order than the page has them in.
  const iv = Buffer.concat([
    Buffer.from(space).reverse(),
    Buffer.from(page.subarray(4, 8)).reverse(),
    Buffer.from(page.subarray(16, 24)).reverse(),
  ]);
  const body = page.subarray(ENCRYPTED_FROM, ENCRYPTED_FROM + 16);
  const decipher =
    scheme.algorithm === 'ctr'
      ? createDecipheriv('aes-128-ctr', pageKey, iv)
      : createDecipheriv('aes-128-cbc', pageKey, iv).setAutoPadding(false);
  const plain = decipher.update(body);
  return plain.subarray(34 - ENCRYPTED_FROM, 38 - ENCRYPTED_FROM).equals(space);
};

const mariadbFault = (
  start: Buffer,
  pageSize: number,
  keys: readonly KeyringKey[],
  algorithm: 'ctr' | 'cbc',
): string | undefined => {
  const at = infoOffset(pageSize, pageSize) + FILE_SPACE_HEADER;
  if (!start.subarray(at, at + 6).equals(MARIADB_MAGIC) || start[at + 7] !== 16) return undefined;
  const iv = start.subarray(at + 8, at + 24);
  const id = String(start.readUInt32BE(at + 28));
  const key = keys.find(({ name }) => name === id)?.bytes;
  if (key === undefined) return `its key ${id} is not there`;
  if ((start.readUInt32BE(FLAGS_AT) & FULL_CRC32) === 0) return undefined;
  const space = start.subarray(34, 38);
  for (let from = pageSize; from + pageSize <= start.length; from += pageSize) {
    const page = start.subarray(from, from + pageSize);
    // In a full_crc32 page the key version comes first; 0 is an unencrypted page, -1 an empty one.
    if (page.readUInt32BE(0) === 0 || page.readUInt32BE(0) === 0xffffffff) continue;
    return opensPage(page, space, { iv, key, algorithm })
      ? undefined
      : `the bytes under the id ${id} are not those of its key`;
  }
  return undefined;
};

export interface TablespaceSeen {
  readonly flavour: 'mariadb' | 'mysql' | 'percona';
  readonly pageSize: number;
  /** `file_key_management_encryption_algorithm`; of MariaDB only. */
  readonly algorithm: 'ctr' | 'cbc';
}

/**
 * Why `keys` do not open the encrypted tablespace in the file `path`, in words; `undefined` where they do, and where the file is of a form
 * that cannot be judged (compressed pages, another layout). The engine copies encrypted pages without opening them, so this is the only
 * place where a keyring that is not the server's is noticed before a restore.
 */
export const tablespaceKeyFault = async (
  path: string,
  keys: readonly KeyringKey[],
  { flavour, pageSize, algorithm }: TablespaceSeen,
): Promise<string | undefined> => {
  const look = async (): Promise<string | undefined> => {
    const start = await readStart(path, flavour === 'mariadb' ? MARIADB_PAGES * pageSize : pageSize);
    if (start === undefined || start.length < pageSize) return undefined;
    return flavour === 'mariadb' ? mariadbFault(start, pageSize, keys, algorithm) : mysqlFault(start, pageSize, keys);
  };
  if ((await look()) === undefined) return undefined;
  // The server may have been writing the very pages: what is wrong stays wrong.
  await sleep(SETTLE_MS);
  return look();
};
