import { crc32 } from 'node:zlib';

// A log block of 5.7: 512 bytes with a header of 12 and a trailer of 4. An LSN counts all of them.

export const BLOCK = 512;
export const BLOCK_HEADER = 12;
const TRAILER = 4;
const PAYLOAD = BLOCK - BLOCK_HEADER - TRAILER;
/** What stands before the blocks of a log file. */
export const LOG_HEADER = 4 * BLOCK;

const NUMBER = 0;
const LENGTH = 4;
const CHECKSUM = BLOCK - TRAILER;

export const blockStart = (lsn: number): number => lsn - (lsn % BLOCK);

/** The number a block has: one more than the blocks before it. */
export const blockNumber = (lsn: number): number => (Math.floor(lsn / BLOCK) % 2 ** 30) + 1;

/** Where the LSN is after `bytes` more of redo. */
export const lsnAfter = (lsn: number, bytes: number): number => {
  const total = (lsn % BLOCK) - BLOCK_HEADER + bytes;
  return blockStart(lsn) + Math.floor(total / PAYLOAD) * BLOCK + BLOCK_HEADER + (total % PAYLOAD);
};

/** The first LSN of a new log that comes after `lsn`. */
export const freshLsn = (lsn: number): number => Math.ceil(lsn / BLOCK) * BLOCK + BLOCK_HEADER;

export const blockChecksum = (block: Buffer): number => crc32(block.subarray(0, CHECKSUM));
export const storedChecksum = (block: Buffer): number => block.readUInt32BE(CHECKSUM);
export const storedNumber = (block: Buffer): number => block.readUInt32BE(NUMBER) & 0x7fff_ffff;
/** Bytes in use, header included; the whole block where it is full. */
export const usedBytes = (block: Buffer): number => block.readUInt16BE(LENGTH);

export const newBlock = (lsn: number): Buffer => {
  const block = Buffer.alloc(BLOCK);
  block.writeUInt32BE(blockNumber(lsn), NUMBER);
  return block;
};

/** Puts as much of `data` into the block as it takes, from its used bytes on; returns how much. */
export const fillBlock = (block: Buffer, data: Buffer): number => {
  const used = Math.max(usedBytes(block), BLOCK_HEADER);
  const taken = Math.min(data.length, BLOCK - TRAILER - used);
  data.copy(block, used, 0, taken);
  const now = used + taken;
  block.writeUInt16BE(now === BLOCK - TRAILER ? BLOCK : now, LENGTH);
  block.writeUInt32BE(blockChecksum(block), CHECKSUM);
  return taken;
};

/** The redo in a block, from `from` bytes into it. */
export const blockPayload = (block: Buffer, from: number): Buffer =>
  block.subarray(from, Math.min(usedBytes(block), BLOCK - TRAILER));
