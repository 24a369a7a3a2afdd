import { crc32 } from 'node:zlib';

// The XBSTREAM format.

const MAGIC = 'XBSTCK01';
/** Payload of one chunk at most. */
export const STREAM_CHUNK = 10 * 1024 * 1024;

const head = (type: 'P' | 'E', path: string): Buffer => {
  const name = Buffer.from(path);
  const bytes = Buffer.alloc(14 + name.length);
  bytes.write(MAGIC, 0, 'latin1');
  bytes.write(type, 9, 'latin1');
  bytes.writeUInt32LE(name.length, 10);
  name.copy(bytes, 14);
  return bytes;
};

export const payloadHeader = (path: string, offset: number, data: Buffer): Buffer => {
  const numbers = Buffer.alloc(20);
  numbers.writeBigUInt64LE(BigInt(data.length), 0);
  numbers.writeBigUInt64LE(BigInt(offset), 8);
  numbers.writeUInt32LE(crc32(data), 16);
  return Buffer.concat([head('P', path), numbers]);
};

export const endOfFile = (path: string): Buffer => head('E', path);

export type StreamChunk =
  | { readonly kind: 'data'; readonly path: string; readonly offset: number; readonly data: Buffer }
  | { readonly kind: 'end'; readonly path: string };

/** A stream that is not one; the message is what xbstream prints. */
export class StreamFault extends Error {}

const hex = (value: number): string => `0x${value.toString(16)}`;

/** Takes bytes by the piece, at most `length`; fewer only at the end. */
export type ReadBytes = (length: number) => Buffer;

/** The chunks of a stream. Throws `StreamFault`; a stream that ends between two chunks just ends. */
export function* readChunks(read: ReadBytes): Generator<StreamChunk> {
  for (let at = 0; ; ) {
    const start = at;
    const take = (length: number): Buffer => {
      const bytes = read(length);
      at += bytes.length;
      if (bytes.length < length) throw new StreamFault('xb_stream_read_chunk(): my_read() failed.');
      return bytes;
    };
    const magic = read(MAGIC.length);
    at += magic.length;
    if (magic.length === 0) return;
    if (magic.toString('latin1') !== MAGIC) {
      if (magic.length < MAGIC.length)
        throw new StreamFault(`xb_stream_read_chunk(): unexpected end of stream at offset ${hex(start)}.`);
      throw new StreamFault(`xb_stream_read_chunk(): wrong chunk magic at offset ${hex(start)}.`);
    }
    const [flags, type] = take(2) as unknown as [number, number];
    const path = take(take(4).readUInt32LE()).toString();
    if (type === 0x45) {
      yield { kind: 'end', path };
      continue;
    }
    if (type !== 0x50) {
      if (flags & 1) continue;
      throw new StreamFault(`xb_stream_read_chunk(): unknown chunk type at offset ${hex(start)}.`);
    }
    const numbers = take(20);
    const expected = numbers.readUInt32LE(16);
    const checksumAt = at - 4;
    const data = take(Number(numbers.readBigUInt64LE(0)));
    if (crc32(data) !== expected)
      throw new StreamFault(
        `xb_stream_read_chunk(): invalid checksum at offset ${hex(checksumAt)}: expected ${hex(expected)}, read ${hex(crc32(data))}.`,
      );
    yield { kind: 'data', path, offset: Number(numbers.readBigUInt64LE(8)), data };
  }
}
