import { promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';
import { RedoubtError } from '#core/errors.ts';
import { ZstdFrameSplitter } from './zstd-frames.ts';

const decompressFrame = promisify(zstdDecompress);

/**
 * The plaintext of a concatenation of zstd frames, several frames decompressed at a time on the thread pool, in their order.
 *
 * Node's own decompressors read the first frame and then end as if there were no more (Node 24: the stream pushes its end
 * once a frame is complete though input is left), so the frames are cut here.
 * Throws `ObjectTampered` where the bytes are not frames as `FrameCompressor` writes them, or end within one.
 */
export async function* decompress(
  source: AsyncIterable<Buffer>,
  inFlight = 4,
): AsyncGenerator<Buffer, void, undefined> {
  const splitter = new ZstdFrameSplitter();
  const running: Promise<Buffer>[] = [];
  const start = (frame: Buffer, contentBytes: number): void => {
    const plain = decompressFrame(frame, {
      maxOutputLength: Math.max(1, contentBytes),
      chunkSize: Math.max(64, contentBytes),
    }).then(
      (content) => {
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
  for await (const piece of source) {
    for (const { frame, contentBytes } of splitter.push(piece)) {
      start(frame, contentBytes);
      if (running.length >= inFlight) yield (await running.shift()) as Buffer;
    }
  }
  splitter.end();
  for (const plain of running) yield await plain;
}
