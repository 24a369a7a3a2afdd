import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';

// The XBCRYPT format, version 3.

const MAGIC = 'XBCRYP03';
const HEADER = 8 + 8 + 8 + 8 + 4 + 8;
const IV = 16;
const HASH = 32;

/** Only the length of the key decides the cipher. */
const CIPHERS: Readonly<Record<number, 'aes-128-ctr' | 'aes-192-ctr' | 'aes-256-ctr'>> = {
  16: 'aes-128-ctr',
  24: 'aes-192-ctr',
  32: 'aes-256-ctr',
};

export const isKeyLength = (key: Buffer): boolean => key.length in CIPHERS;

/** Byte for byte; the number of the error where it cannot be read. */
export const readKeyFile = (path: string): Buffer | number => {
  try {
    return readFileSync(path);
  } catch (error) {
    return Math.abs((error as NodeJS.ErrnoException).errno ?? 5);
  }
};

export const encryptChunk = (plain: Buffer, key: Buffer): Buffer => {
  const iv = randomBytes(IV);
  const cipher = createCipheriv(CIPHERS[key.length] as 'aes-256-ctr', key, iv);
  const body = Buffer.concat([
    cipher.update(plain),
    cipher.update(createHash('sha256').update(plain).digest()),
    cipher.final(),
  ]);
  const header = Buffer.alloc(HEADER);
  header.write(MAGIC, 0, 'latin1');
  header.writeBigUInt64LE(BigInt(plain.length + HASH), 16);
  header.writeBigUInt64LE(BigInt(body.length), 24);
  header.writeUInt32LE(crc32(body), 32);
  header.writeBigUInt64LE(BigInt(IV), 36);
  return Buffer.concat([header, iv, body]);
};

export type CryptEnd =
  | { readonly kind: 'end' }
  /** What the reader says; 2.4 ends there and calls it good. */
  | { readonly kind: 'damaged'; readonly message: string }
  | { readonly kind: 'wrong-key' };

const hex = (value: number): string => `0x${value.toString(16)}`;

/** Decrypts chunk by chunk, as far as it goes. */
export const decryptChunks = (content: Buffer, key: Buffer, write: (plain: Buffer) => void): CryptEnd => {
  // The reader's own count of bytes, which it prints, leaves out the initialisation vectors.
  let counted = 0;
  for (let at = 0; at < content.length; ) {
    if (content.length - at < HEADER)
      return {
        kind: 'damaged',
        message: `xb_crypt_read_chunk: unable to read chunk header data at offset ${hex(counted)}.`,
      };
    if (content.toString('latin1', at, at + 6) !== MAGIC.slice(0, 6))
      return { kind: 'damaged', message: `xb_crypt_read_chunk: wrong chunk magic at offset ${hex(counted)}.` };
    const length = Number(content.readBigUInt64LE(at + 24));
    const expected = content.readUInt32LE(at + 32);
    const ivLength = Number(content.readBigUInt64LE(at + 36));
    const body = at + HEADER + ivLength;
    if (content.length < body + length)
      return {
        kind: 'damaged',
        message: `xb_crypt_read_chunk: failed to read ${length} bytes for chunk payload at offset ${hex(counted + HEADER)}.`,
      };
    const encrypted = content.subarray(body, body + length);
    const actual = crc32(encrypted);
    if (actual !== expected)
      return {
        kind: 'damaged',
        message: `xb_crypt_read_chunk invalid checksum at offset ${hex(counted + HEADER)}, expected ${hex(expected)}, actual ${hex(actual)}.`,
      };
    const decipher = createDecipheriv(
      CIPHERS[key.length] as 'aes-256-ctr',
      key,
      content.subarray(at + HEADER, at + HEADER + IV),
    );
    const plain = Buffer.concat([decipher.update(encrypted), decipher.final()]);
    const data = plain.subarray(0, plain.length - HASH);
    if (
      !createHash('sha256')
        .update(data)
        .digest()
        .equals(plain.subarray(plain.length - HASH))
    )
      return { kind: 'wrong-key' };
    write(data);
    at = body + length;
    counted += HEADER + length;
  }
  return { kind: 'end' };
};
