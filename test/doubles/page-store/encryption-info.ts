import { createCipheriv, createDecipheriv } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { TablespaceKey } from './page.ts';

// How page 0 carries the key of its tablespace, wrapped by a master key: the layout of 5.7 (recorded in the redo of 86).

/** In page 0, and in the redo record that changes it. */
export const INFO_AT = 10390;
export const INFO_BYTES = 119;
const MAGIC = 'lCB';
const ID_AT = 3;
const UUID_AT = 11;
const UUID_BYTES = 36;
const KEYS_AT = UUID_AT + UUID_BYTES;
const KEY_BYTES = 32;
const SUM_AT = KEYS_AT + 2 * KEY_BYTES;

/** The master keys at hand, by name. */
export interface MasterKeys {
  readonly size: number;
  get(name: string): Buffer | undefined;
  /** The key of a tablespace itself, where something else than a master key gives it. */
  direct?(space: number): TablespaceKey | undefined;
}

export const masterKeyName = (uuid: string, id: number): string => `INNODBKey-${uuid}-${id}`;

export const hasInfo = (page: Buffer): boolean => isInfo(page.subarray(INFO_AT, INFO_AT + INFO_BYTES));

export const isInfo = (bytes: Buffer): boolean =>
  bytes.length === INFO_BYTES && bytes.toString('latin1', 0, 3) === MAGIC;

/** Which master key wraps it. */
export const infoMaster = (info: Buffer): { readonly uuid: string; readonly id: number } => ({
  id: info.readUInt32BE(ID_AT),
  uuid: info.toString('latin1', UUID_AT, UUID_AT + UUID_BYTES),
});

export const infoOfPage = (page: Buffer): Buffer => page.subarray(INFO_AT, INFO_AT + INFO_BYTES);

export const wrapKey = (key: TablespaceKey, master: Buffer, uuid: string, id: number): Buffer => {
  const info = Buffer.alloc(INFO_BYTES);
  info.write(MAGIC, 0, 'latin1');
  info.writeUInt32BE(id, ID_AT);
  info.write(uuid, UUID_AT, 'latin1');
  const plain = Buffer.concat([key.key, key.iv]);
  const cipher = createCipheriv('aes-256-ecb', master, null).setAutoPadding(false);
  Buffer.concat([cipher.update(plain), cipher.final()]).copy(info, KEYS_AT);
  info.writeUInt32BE(crc32(plain), SUM_AT);
  return info;
};

export type Unwrapped =
  | { readonly kind: 'key'; readonly key: TablespaceKey }
  /** No information there, or its master key is not at hand. */
  | { readonly kind: 'unknown' }
  /** There are no master keys at all. */
  | { readonly kind: 'no-keyring' }
  /** A key of that name, but other bytes. */
  | { readonly kind: 'other-key' };

export const unwrapKey = (info: Buffer, masters: MasterKeys, space: number): Unwrapped => {
  const direct = masters.direct?.(space);
  if (direct) return { kind: 'key', key: direct };
  if (!isInfo(info)) return { kind: 'unknown' };
  if (masters.size === 0) return { kind: 'no-keyring' };
  const { uuid, id } = infoMaster(info);
  const master = masters.get(masterKeyName(uuid, id));
  if (!master) return { kind: 'unknown' };
  const decipher = createDecipheriv('aes-256-ecb', master, null).setAutoPadding(false);
  const plain = Buffer.concat([decipher.update(info.subarray(KEYS_AT, SUM_AT)), decipher.final()]);
  if (crc32(plain) !== info.readUInt32BE(SUM_AT)) return { kind: 'other-key' };
  return {
    kind: 'key',
    key: { key: Buffer.from(plain.subarray(0, KEY_BYTES)), iv: Buffer.from(plain.subarray(KEY_BYTES)) },
  };
};
