import { createZstdDecompress } from 'node:zlib';
import { RedoubtError } from '#core/errors.ts';
import { FrameContexts } from './frame-contexts.ts';
import { freeBuffer } from './free-buffer.ts';
import { BLOCK_BYTES } from './store-stream.ts';
import { ZstdFrameSplitter } from './zstd-frames.ts';

/**
 * The plaintext of a concatenation of zstd frames, several frames decompressed at a time on the thread pool, in their order. The pieces
 * of `source` are given away. What is yielded is the reader's.
 *
 * Node's own decompressors end at the first frame that input is left behind (Node 24), so the frames are cut here.
 * Throws `ObjectTampered` where the bytes are not frames as `FrameCompressor` writes them, or end within one.
 */
export async function* decompress(
  source: AsyncIterable<Buffer>,
  inFlight = 4,
): AsyncGenerator<Buffer, void, undefined> {
  const splitter = new ZstdFrameSplitter();
  // The size of a block: what a whole one decompresses to is alone in its memory.
  const contexts = new FrameContexts(() => createZstdDecompress({ chunkSize: BLOCK_BYTES }));
  const running: Promise<Buffer>[] = [];
  const start = (frame: Buffer, contentBytes: number): void => {
    const plain = contexts.write(frame, contentBytes).then(
      (content) => {
        freeBuffer(frame);
        if (content.length === contentBytes) return content;
        throw new RedoubtError('ObjectTampered', `a zstd frame holds ${content.length} bytes, not ${contentBytes}`);
      },
      (error: unknown) => {
        throw new RedoubtError('ObjectTampered', 'a zstd frame does not decompress', { cause: error });
      },
    );
    // Awaited in its turn; until then a failure must not count as unhandled.
    plain.catch(() => undefined);
    running.push(plain);
  };
  try {
    for await (const piece of source) {
      for (const { frame, contentBytes } of splitter.push(piece)) {
        start(frame, contentBytes);
        if (running.length >= inFlight) yield (await running.shift()) as Buffer;
      }
    }
    splitter.end();
    for (const plain of running) yield await plain;
  } finally {
    contexts.close();
  }
}
