import { RedoubtError } from '#core/errors.ts';
import type { Repository } from '../repository/repository.ts';
import { BufferPool } from './buffer-pool.ts';
import { FrameCompressor } from './frame-compressor.ts';
import type { SealContext } from './seal-context.ts';
import { type SegmentDeps, SegmentWriter, type StoredSegment } from './segment-writer.ts';
import { Throttle } from './throttle.ts';

/** Plaintext of one zstd frame: small enough to lie in the cores' caches, large enough that ratio and overhead do not suffer. */
export const BLOCK_BYTES = 1024 * 1024;

/** A segment is one object: far below S3's 10,000 parts and 5 TiB, and what a restore fetches and checks at a time. */
export const SEGMENT_BYTES = 1024 * BLOCK_BYTES;

/** Of a multipart upload; S3 takes 5 MiB to 5 GiB. */
export const PART_BYTES = 8 * 1024 * 1024;

/** One part being filled, the others on their way. */
const PART_BUFFERS = 6;

export interface StoreStreamInput {
  /** The engine's stream; each piece is used up before the next is asked for. It is destroyed when this fails. */
  readonly source: AsyncIterable<Buffer> & { destroy(): void };
  readonly repository: Pick<Repository, 'startUpload'>;
  /** Seals the segments; absent where the engine's own encryption is all there is to be. */
  readonly dataKey: Buffer | undefined;
  /** Where the segment of this index goes. */
  readonly keyOf: (index: number) => string;
  readonly contextOf: (key: string) => SealContext;
  readonly compressionLevel: number;
  /** Blocks compressed at the same time. */
  readonly compressionThreads: number;
  readonly uploadBytesPerSecond?: number | undefined;
  readonly signal: AbortSignal;
  /** Sees every byte of the stream, in order, before it is sent. Throwing fails the whole. */
  readonly onBlock: (block: Buffer) => void;
  readonly segmentBytes?: number;
  readonly partBytes?: number;
}

export interface StoredStream {
  readonly segments: readonly StoredSegment[];
  /** Of the engine's stream. */
  readonly bytes: number;
  readonly segmentBytes: number;
}

interface Job {
  readonly block: Buffer;
  readonly frame: Promise<Buffer>;
  readonly segment: number;
}

/**
 * Compresses, seals and stores a stream while it comes: blocks of 1 MiB become zstd frames, several at a time; frames become
 * segments, each one AWS Encryption SDK message and one object; objects go out in parts.
 *
 * Memory is bounded by two pools of buffers whatever the stream's size: a block's buffer is free again when its frame was
 * taken by the seal, a part's when the repository has it. A slow repository thereby slows the engine.
 *
 * Whatever fails, here or behind the signal, ends everything: uploads that were not completed are aborted before this
 * rejects. Segments already completed stay; without a manifest nothing refers to them.
 */
export const storeStream = async (input: StoreStreamInput): Promise<StoredStream> => {
  const { source, compressionLevel, compressionThreads } = input;
  const segmentBytes = input.segmentBytes ?? SEGMENT_BYTES;
  if (segmentBytes % BLOCK_BYTES !== 0) throw new RangeError(`a segment is a multiple of ${BLOCK_BYTES} bytes`);
  const failure = new AbortController();
  const signal = AbortSignal.any([input.signal, failure.signal]);
  const fail = (error: unknown): void => failure.abort(error);

  // Three more than threads: one being filled, one whose frame is being taken, and one that waits for a thread to be free.
  const blocks = new BufferPool(compressionThreads + 3, BLOCK_BYTES, signal);
  const deps: SegmentDeps = {
    repository: input.repository,
    dataKey: input.dataKey,
    parts: new BufferPool(PART_BUFFERS, input.partBytes ?? PART_BYTES, signal),
    throttle: new Throttle(input.uploadBytesPerSecond),
    signal,
    fail,
  };

  const compressor = new FrameCompressor(compressionLevel);
  const jobs: Job[] = [];
  let wake: () => void = () => undefined;
  let ended = false;
  let bytes = 0;

  const submit = (block: Buffer, length: number): void => {
    const content = block.subarray(0, length);
    input.onBlock(content);
    const frame = compressor.compress(content);
    frame.catch(fail);
    jobs.push({ block, frame, segment: Math.floor(bytes / segmentBytes) });
    bytes += length;
    wake();
  };

  const read = async (): Promise<void> => {
    try {
      await readBlocks();
    } catch (error) {
      if (error instanceof RedoubtError) throw error;
      throw new RedoubtError('StreamIncomplete', `the stream broke off after ${bytes} bytes`, { cause: error });
    }
  };

  const readBlocks = async (): Promise<void> => {
    let block: Buffer | undefined;
    let filled = 0;
    for await (const piece of source) {
      for (let at = 0; at < piece.length; ) {
        block ??= await blocks.acquire();
        const copied = piece.copy(block, filled, at);
        filled += copied;
        at += copied;
        if (filled === BLOCK_BYTES) {
          submit(block, filled);
          block = undefined;
          filled = 0;
        }
      }
    }
    signal.throwIfAborted();
    if (block !== undefined) submit(block, filled);
    ended = true;
    wake();
  };

  const open: SegmentWriter[] = [];
  const finished: Promise<StoredSegment>[] = [];

  const write = async (): Promise<void> => {
    let current: SegmentWriter | undefined;
    const finish = (): void => {
      if (current === undefined) return;
      const writer = current;
      const stored = writer.finish();
      stored.catch(fail);
      void stored.then(
        () => open.splice(open.indexOf(writer), 1),
        () => undefined,
      );
      finished.push(stored);
      current = undefined;
    };
    for (;;) {
      signal.throwIfAborted();
      const job = jobs.shift();
      if (job === undefined) {
        if (ended) break;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      if (job.segment !== finished.length) finish();
      if (current === undefined) {
        const key = input.keyOf(job.segment);
        current = new SegmentWriter(key, input.contextOf(key), deps);
        open.push(current);
      }
      await current.write(await job.frame);
      blocks.release(job.block);
    }
    finish();
  };

  const onAbort = (): void => {
    source.destroy();
    wake();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    await Promise.all([read(), write()]);
    return { segments: await Promise.all(finished), bytes, segmentBytes };
  } catch (error) {
    fail(error);
    await Promise.all(open.map((writer) => writer.abort()));
    // The first thing that failed, not what fell over because of it.
    const reason: unknown = signal.reason;
    throw reason instanceof RedoubtError ? reason : new RedoubtError('Unexpected', String(reason), { cause: reason });
  } finally {
    signal.removeEventListener('abort', onAbort);
    compressor.close();
  }
};
