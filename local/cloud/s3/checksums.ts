import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** The checksum algorithms of S3 that the local one verifies; the names are those in `x-amz-checksum-<name>`. */
export const checksumNames = ['sha256', 'sha1', 'crc32', 'crc64nvme'] as const;
export type ChecksumName = (typeof checksumNames)[number];
/** Base64, by algorithm. */
export type Checksums = Readonly<Partial<Record<ChecksumName, string>>>;

export const isChecksumName = (name: string): name is ChecksumName =>
  (checksumNames as readonly string[]).includes(name);

interface Hasher {
  update(chunk: Buffer): void;
  /** Base64. */
  digest(): string;
}

// CRC-64/NVME: polynomial 0xad93d23594c93659, reflected, all ones in and out. Two halves of 32 bits: a bigint per byte would be a hundred times slower.
const crc64Table = (() => {
  const low = new Uint32Array(256);
  const high = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let value = BigInt(byte);
    for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ 0x9a6c9329ac4bc9b5n : value >> 1n;
    low[byte] = Number(value & 0xffffffffn);
    high[byte] = Number(value >> 32n);
  }
  return { low, high };
})();

const crc64nvme = (): Hasher => {
  let low = 0xffffffff;
  let high = 0xffffffff;
  return {
    update(chunk) {
      for (let index = 0; index < chunk.length; index++) {
        const entry = (low ^ (chunk[index] as number)) & 0xff;
        low = ((low >>> 8) | (high << 24)) ^ (crc64Table.low[entry] as number);
        high = (high >>> 8) ^ (crc64Table.high[entry] as number);
      }
    },
    digest() {
      const bytes = Buffer.alloc(8);
      bytes.writeUInt32BE(~high >>> 0, 0);
      bytes.writeUInt32BE(~low >>> 0, 4);
      return bytes.toString('base64');
    },
  };
};

const crc32Hasher = (): Hasher => {
  let value = 0;
  return {
    update(chunk) {
      value = crc32(chunk, value);
    },
    digest() {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(value);
      return bytes.toString('base64');
    },
  };
};

export const createHasher = (name: ChecksumName | 'md5'): Hasher => {
  if (name === 'crc32') return crc32Hasher();
  if (name === 'crc64nvme') return crc64nvme();
  const hash = createHash(name);
  return { update: (chunk) => void hash.update(chunk), digest: () => hash.digest('base64') };
};

/** A multipart object's COMPOSITE checksum: the checksum of the parts' checksums, and how many parts there are. */
export const compositeChecksum = (name: ChecksumName, parts: readonly string[]): string => {
  const hasher = createHasher(name);
  for (const part of parts) hasher.update(Buffer.from(part, 'base64'));
  return `${hasher.digest()}-${parts.length}`;
};
