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
 * Decrypts one encrypted file as it passes. Yields only what holds: each chunk's checksum and the SHA-256 encrypted with it. Chunks left out,
 * repeated or in another order go unnoticed, as in every program that reads this format: the inventory's checksum of the whole file shows
 * those. Throws `StreamCorrupt` for what is no such file, `KeyInvalid` where the key is another.
 */
export class XbcryptDecrypter {
  readonly #key: Buffer;
  #chunk: Chunk | undefined;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #plain = 0;

  constructor(key: Buffer) {
    this.#key = key;
  }

  /** The plaintext that `piece` completes, none of it a view into `piece`. Iterate to the end before pushing again. */
  *push(piece: Buffer): Generator<Buffer, void, undefined> {
    for (let rest = piece; rest.length > 0; ) {
      const wanted = (this.#chunk === undefined ? HEADER : IV_BYTES + this.#chunk.encrypted) - this.#heldBytes;
      const mine = rest.subarray(0, wanted);
      rest = rest.subarray(mine.length);
      if (mine.length < wanted) {
        // A copy: whoever pushed uses the buffer again.
        this.#held.push(Buffer.from(mine));
        this.#heldBytes += mine.length;
        return;
      }
      const whole = this.#heldBytes === 0 ? mine : Buffer.concat([...this.#held, mine]);
      this.#held = [];
      this.#heldBytes = 0;
      if (this.#chunk === undefined) {
        const chunk = parseHeader(whole);
        if (typeof chunk === 'string') throw new RedoubtError('StreamCorrupt', chunk);
        this.#chunk = chunk;
      } else {
        const text = openChunk(this.#chunk, whole, this.#key);
        this.#chunk = undefined;
        this.#plain += text.length;
        yield text;
      }
    }
  }

  /** Bytes of plaintext; `undefined` where the file ended inside a chunk. */
  get plainBytes(): number | undefined {
    return this.#chunk === undefined && this.#heldBytes === 0 ? this.#plain : undefined;
  }
}

/** The plaintext of a chunk; `body` is its IV and its ciphertext. */
const openChunk = (chunk: Chunk, body: Buffer, key: Buffer): Buffer => {
  const encrypted = body.subarray(IV_BYTES);
  if (crc32(encrypted) !== chunk.checksum)
    throw new RedoubtError('StreamCorrupt', 'the checksum of a chunk does not hold');
  const decipher = createDecipheriv(`aes-${key.length * 8}-ctr`, key, body.subarray(0, IV_BYTES));
  // CTR holds nothing back: there is no final block.
  const plain = decipher.update(encrypted);
  const text = plain.subarray(0, plain.length - HASH_BYTES);
  if (!timingSafeEqual(createHash('sha256').update(text).digest(), plain.subarray(text.length)))
    throw new RedoubtError('KeyInvalid', 'the engine encrypted with another key');
  return text;
};

/** The plaintext of a small encrypted file. Throws as `XbcryptDecrypter` does. */
export const decryptXbcrypt = (content: Buffer, key: Buffer): Buffer => {
  const decrypter = new XbcryptDecrypter(key);
  const plain = Buffer.concat([...decrypter.push(content)]);
  if (decrypter.plainBytes === undefined) throw new RedoubtError('StreamCorrupt', 'it ends inside a chunk');
  return plain;
};
