import { createDecipheriv, createHash, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { RedoubtError } from '#core/errors.ts';

/** What `--encrypt` appends to the name of every file it encrypts. */
export const XBCRYPT_SUFFIX = '.xbcrypt';

/** The name a file of a stream has once it is decrypted. */
export const plainPath = (path: string): string =>
  path.endsWith(XBCRYPT_SUFFIX) ? path.slice(0, -XBCRYPT_SUFFIX.length) : path;

/** Since 2.4.5, and in every 8.x. */
const MAGIC = Buffer.from('XBCRYP03');
/** Magic, reserved, original size, encrypted size, CRC-32, length of the IV. */
const HEADER = 8 + 8 + 8 + 8 + 4 + 8;
const IV_BYTES = 16;
/** Each chunk carries the SHA-256 of its plaintext, encrypted with it. */
const HASH_BYTES = 32;
/** `--encrypt-chunk-size` is 64 KiB unless somebody asks for more. */
const MAX_CHUNK = 64 * 1024 * 1024;

interface Chunk {
  /** Of the plaintext, its hash included. */
  readonly original: number;
  readonly encrypted: number;
  readonly checksum: number;
}

/** What stands in the header at the start of `bytes`, or what is wrong with it in words. */
const parseHeader = (bytes: Buffer): Chunk | string => {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return 'no chunk starts';
  const original = bytes.readBigUInt64LE(16);
  const encrypted = bytes.readBigUInt64LE(24);
  if (original !== encrypted || original <= BigInt(HASH_BYTES) || original > BigInt(MAX_CHUNK))
    return `a chunk of ${original} and ${encrypted} bytes starts`;
  if (bytes.readBigUInt64LE(36) !== BigInt(IV_BYTES)) return 'a chunk with an unknown kind of IV starts';
  return { original: Number(original), encrypted: Number(encrypted), checksum: bytes.readUInt32LE(32) };
};

/**
 * Follows one encrypted file as it passes, without its key, and knows how long its plaintext is. The format has no footer and its checksum is
 * over what anybody can compute, so this says that a file is whole chunks, not that it is whole.
 */
export class XbcryptWalker {
  #held: Buffer = Buffer.alloc(0);
  /** Bytes of IV and ciphertext still to come. */
  #left = 0;
  #plain = 0;

  /** Throws `StreamCorrupt` where a chunk is none. */
  push(piece: Buffer): void {
    let rest = piece;
    while (rest.length > 0) {
      const skipped = Math.min(this.#left, rest.length);
      this.#left -= skipped;
      rest = rest.subarray(skipped);
      if (this.#left > 0 || rest.length === 0) return;
      const wanted = HEADER - this.#held.length;
      this.#held = Buffer.concat([this.#held, rest.subarray(0, wanted)]);
      rest = rest.subarray(wanted);
      if (this.#held.length < HEADER) return;
      const chunk = parseHeader(this.#held);
      if (typeof chunk === 'string') throw new RedoubtError('StreamCorrupt', chunk);
      this.#held = Buffer.alloc(0);
      this.#left = IV_BYTES + chunk.encrypted;
      this.#plain += chunk.original - HASH_BYTES;
    }
  }

  /** Bytes of plaintext; `undefined` where the file ended inside a chunk. */
  get plainBytes(): number | undefined {
    return this.#left === 0 && this.#held.length === 0 ? this.#plain : undefined;
  }
}

/**
 * The plaintext of a small encrypted file. Throws `StreamCorrupt` for what is no such file, `KeyInvalid` where the key is another.
 */
export const decryptXbcrypt = (content: Buffer, key: Buffer): Buffer => {
  const pieces: Buffer[] = [];
  for (let at = 0; at < content.length; ) {
    const header = content.subarray(at, at + HEADER);
    const chunk = header.length < HEADER ? 'it ends inside a chunk' : parseHeader(header);
    if (typeof chunk === 'string') throw new RedoubtError('StreamCorrupt', chunk);
    const from = at + HEADER + IV_BYTES;
    const body = content.subarray(from, from + chunk.encrypted);
    if (body.length < chunk.encrypted) throw new RedoubtError('StreamCorrupt', 'it ends inside a chunk');
    if (crc32(body) !== chunk.checksum)
      throw new RedoubtError('StreamCorrupt', 'the checksum of a chunk does not hold');
    const decipher = createDecipheriv(`aes-${key.length * 8}-ctr`, key, content.subarray(at + HEADER, from));
    const plain = Buffer.concat([decipher.update(body), decipher.final()]);
    const text = plain.subarray(0, plain.length - HASH_BYTES);
    if (!timingSafeEqual(createHash('sha256').update(text).digest(), plain.subarray(text.length)))
      throw new RedoubtError('KeyInvalid', 'the engine encrypted with another key');
    pieces.push(text);
    at = from + chunk.encrypted;
  }
  return Buffer.concat(pieces);
};
