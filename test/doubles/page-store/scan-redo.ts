import {
  BLOCK,
  BLOCK_HEADER,
  blockChecksum,
  blockNumber,
  blockPayload,
  blockStart,
  lsnAfter,
  storedChecksum,
  storedNumber,
  usedBytes,
} from './redo-block.ts';
import { decodeGroup, type RedoRecord } from './redo-record.ts';

/** Whatever holds log blocks by LSN. */
export interface RedoBlocks {
  /** `undefined` past the end. */
  blockAt(lsn: number): Buffer | undefined;
}

export interface RedoGroup {
  readonly records: readonly RedoRecord[];
  readonly start: number;
  readonly end: number;
}

export interface DamagedBlock {
  readonly number: number;
  readonly lsn: number;
  readonly found: number;
  readonly expected: number;
}

export interface Scan {
  readonly groups: readonly RedoGroup[];
  /** How far there is redo. */
  readonly scannedTo: number;
  /** How far its groups are complete. */
  readonly completeTo: number;
  /** What ended the scan, where it was no orderly end. */
  readonly damaged?: DamagedBlock;
}

/** The redo from `from` on, as far as its blocks are in order. */
export const scanRedo = (blocks: RedoBlocks, from: number): Scan => {
  const parts: Buffer[] = [];
  let damaged: DamagedBlock | undefined;
  for (let at = blockStart(from); ; at += BLOCK) {
    const block = blocks.blockAt(at);
    if (!block || block.length < BLOCK || storedNumber(block) !== blockNumber(at)) break;
    const [found, expected] = [storedChecksum(block), blockChecksum(block)];
    if (found !== expected) {
      damaged = { number: blockNumber(at), lsn: at, found, expected };
      break;
    }
    parts.push(blockPayload(block, at === blockStart(from) ? from % BLOCK : BLOCK_HEADER));
    if (usedBytes(block) < BLOCK) break;
  }
  const bytes = Buffer.concat(parts);
  const groups: RedoGroup[] = [];
  let done = 0;
  let start = from;
  for (;;) {
    const group = decodeGroup(bytes, done);
    if (!group) break;
    const end = lsnAfter(start, group.end - done);
    groups.push({ records: group.records, start, end });
    done = group.end;
    start = end;
  }
  return {
    groups,
    scannedTo: damaged ? damaged.lsn : lsnAfter(from, bytes.length),
    completeTo: start,
    ...(damaged ? { damaged } : {}),
  };
};
