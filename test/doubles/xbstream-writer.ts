import { crc32 } from 'node:zlib';

const header = (type: 'P' | 'S' | 'E', path: string): Buffer => {
  const name = Buffer.from(path, 'utf8');
  const bytes = Buffer.alloc(14 + name.length);
  bytes.write('XBSTCK01', 0, 'latin1');
  bytes.writeUInt8(0, 8);
  bytes.write(type, 9, 'latin1');
  bytes.writeUInt32LE(name.length, 10);
  name.copy(bytes, 14);
  return bytes;
};

/** A `P` chunk as xbstream writes it. */
export const payloadChunk = (path: string, offset: number, data: Buffer): Buffer => {
  const numbers = Buffer.alloc(20);
  numbers.writeBigUInt64LE(BigInt(data.length), 0);
  numbers.writeBigUInt64LE(BigInt(offset), 8);
  numbers.writeUInt32LE(crc32(data), 16);
  return Buffer.concat([header('P', path), numbers, data]);
};

export interface SparseRun {
  /** Bytes of hole before the data. */
  readonly skip: number;
  readonly data: Buffer;
}

/** An `S` chunk as xbstream of XtraBackup 8.x writes it. */
export const sparseChunk = (path: string, offset: number, runs: readonly SparseRun[]): Buffer => {
  const map = Buffer.alloc(runs.length * 8);
  for (const [index, { skip, data }] of runs.entries()) {
    map.writeUInt32LE(skip, index * 8);
    map.writeUInt32LE(data.length, index * 8 + 4);
  }
  const data = Buffer.concat(runs.map((run) => run.data));
  const numbers = Buffer.alloc(24);
  numbers.writeUInt32LE(runs.length, 0);
  numbers.writeBigUInt64LE(BigInt(data.length), 4);
  numbers.writeBigUInt64LE(BigInt(offset), 12);
  numbers.writeUInt32LE(crc32(data, crc32(map)), 20);
  return Buffer.concat([header('S', path), numbers, map, data]);
};

export const endChunk = (path: string): Buffer => header('E', path);

/** A whole small stream: each file one chunk and its end. */
export const xbstreamOf = (files: Readonly<Record<string, Buffer | string>>): Buffer =>
  Buffer.concat(
    Object.entries(files).flatMap(([path, content]) => {
      const data = typeof content === 'string' ? Buffer.from(content) : content;
      return [...(data.length > 0 ? [payloadChunk(path, 0, data)] : []), endChunk(path)];
    }),
  );

export interface SyntheticStream {
  /** Size of the whole, rounded up to whole chunks. */
  readonly bytes: number;
  readonly files: number;
  /** Chunk payload; the engines send up to 10 MiB. */
  readonly chunkBytes?: number;
}

/**
 * A valid stream of any size that costs next to nothing to make: every chunk carries the same page-like bytes, about as
 * compressible as a database's. Files are interleaved in pairs, as two copy threads would send them.
 */
export function* syntheticStream({ bytes, files, chunkBytes = 10 * 1024 * 1024 }: SyntheticStream): Generator<Buffer> {
  const data = Buffer.alloc(chunkBytes);
  // A third noise, the rest structure: InnoDB pages at zstd level 3 end near 3:1.
  let seed = 0x2545f491;
  for (let at = 0; at < data.length; at += 4) {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    data.writeUInt32LE((at >>> 2) % 3 === 0 ? seed >>> 0 : ((at >>> 14) * 2654435761) & 0xffff, at - (at % 4));
  }
  const chunks = Math.max(files, Math.ceil(bytes / chunkBytes));
  const perFile = Math.ceil(chunks / files);
  const sum = crc32(data);
  const head = (path: string, offset: number): Buffer => {
    const numbers = Buffer.alloc(20);
    numbers.writeBigUInt64LE(BigInt(data.length), 0);
    numbers.writeBigUInt64LE(BigInt(offset), 8);
    numbers.writeUInt32LE(sum, 16);
    return Buffer.concat([header('P', path), numbers]);
  };
  const name = (file: number): string => `bench/t${String(file).padStart(6, '0')}.ibd`;
  for (let pair = 0; pair < files; pair += 2) {
    const both = pair + 1 < files ? [pair, pair + 1] : [pair];
    for (let chunk = 0; chunk < perFile; chunk++) {
      for (const file of both) {
        yield head(name(file), chunk * chunkBytes);
        yield data;
      }
    }
    for (const file of both) yield endChunk(name(file));
  }
}
