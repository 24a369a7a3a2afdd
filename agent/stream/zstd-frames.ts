import { RedoubtError } from '#core/errors.ts';
import { freeBuffer } from './free-buffer.ts';

export interface ZstdFrame {
  readonly frame: Buffer;
  /** As the frame's header says. */
  readonly contentBytes: number;
}

const MAGIC = 0xfd2fb528;
/** Far above a block of ours: a larger frame is not one of ours, and would be held in memory whole. */
const MAX_FRAME = 64 * 1024 * 1024;

const bad = (why: string): RedoubtError => new RedoubtError('ObjectTampered', `the compressed stream ${why}`);

interface Header {
  readonly bytes: number;
  readonly contentBytes: number;
  readonly hasChecksum: boolean;
}

/** RFC 8878, 3.1.1.1. `undefined` where `held` does not hold the whole header yet. */
const parseHeader = (held: Buffer): Header | undefined => {
  if (held.length < 5) return undefined;
  if (held.readUInt32LE(0) !== MAGIC) throw bad('holds something else than zstd frames');
  const descriptor = held[4] as number;
  const singleSegment = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? (singleSegment ? 1 : 0) : 1 << sizeFlag;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] as number;
  const at = 5 + (singleSegment ? 0 : 1) + dictionaryBytes;
  if (held.length < at + sizeBytes) return undefined;
  if (sizeBytes === 0) throw bad('holds a frame that does not say its size');
  const contentBytes =
    sizeBytes === 8 ? Number(held.readBigUInt64LE(at)) : held.readUIntLE(at, sizeBytes) + (sizeBytes === 2 ? 256 : 0);
  if (contentBytes > MAX_FRAME) throw bad(`holds a frame of ${contentBytes} bytes`);
  return { bytes: at + sizeBytes, contentBytes, hasChecksum: (descriptor & 4) !== 0 };
};

/** Longest header there is: magic, descriptor, window, dictionary id, content size. */
const LONGEST_HEADER = 4 + 1 + 1 + 4 + 8;

/**
 * Cuts a concatenation of zstd frames into frames by walking their block headers. Every frame must state its content's size.
 * The pieces are given away: each frame is a copy in memory of its own, and what was copied is freed.
 */
export class ZstdFrameSplitter {
  #pieces: Buffer[] = [];
  /** How much of the first piece was taken. */
  #taken = 0;
  #bytes = 0;
  #header: Header | undefined;
  /** Where the next block header starts, from the start of the frame; past it once the last block is known. */
  #cursor = 0;
  #complete = false;

  *push(piece: Buffer): Generator<ZstdFrame, void, undefined> {
    if (piece.length === 0) return;
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    for (;;) {
      const frame = this.#next();
      if (frame === undefined) return;
      yield frame;
    }
  }

  /** Throws `ObjectTampered` within a frame. */
  end(): void {
    if (this.#bytes > 0) throw bad('ends within a frame');
  }

  #next(): ZstdFrame | undefined {
    if (this.#header === undefined) {
      this.#header = parseHeader(this.#at(0, Math.min(this.#bytes, LONGEST_HEADER)));
      if (this.#header === undefined) return undefined;
      this.#cursor = this.#header.bytes;
    }
    while (!this.#complete) {
      if (this.#bytes < this.#cursor + 3) return undefined;
      const block = this.#at(this.#cursor, 3).readUIntLE(0, 3);
      const isLast = (block & 1) !== 0;
      const type = (block >> 1) & 3;
      if (type === 3) throw bad('holds a block of the reserved type');
      this.#cursor += 3 + (type === 1 ? 1 : block >> 3);
      if (isLast) {
        this.#cursor += this.#header.hasChecksum ? 4 : 0;
        this.#complete = true;
      }
      if (this.#cursor > MAX_FRAME) throw bad('holds a frame beyond all bounds');
    }
    if (this.#bytes < this.#cursor) return undefined;
    const frame = this.#take(this.#cursor);
    const { contentBytes } = this.#header;
    this.#header = undefined;
    this.#complete = false;
    return { frame, contentBytes };
  }

  /** The first `length` bytes, which are no longer held. */
  #take(length: number): Buffer {
    const taken = Buffer.allocUnsafeSlow(length);
    let used = 0;
    for (let filled = 0; filled < length; ) {
      const piece = this.#pieces[used] as Buffer;
      const copied = piece.copy(taken, filled, this.#taken);
      filled += copied;
      this.#taken += copied;
      if (this.#taken === piece.length) {
        used++;
        this.#taken = 0;
        freeBuffer(piece);
      }
    }
    this.#pieces.splice(0, used);
    this.#bytes -= length;
    return taken;
  }

  /** `length` bytes from `start`; they are held. A copy only where they lie in several pieces. */
  #at(start: number, length: number): Buffer {
    let from = this.#taken + start;
    const parts: Buffer[] = [];
    let left = length;
    for (const piece of this.#pieces) {
      if (from >= piece.length) {
        from -= piece.length;
        continue;
      }
      const part = piece.subarray(from, from + left);
      parts.push(part);
      left -= part.length;
      from = 0;
      if (left === 0) break;
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }
}
