import { constants, createZstdCompress } from 'node:zlib';
import { FrameContexts } from './frame-contexts.ts';

/** Frames are cut out of buffers of this size: what is allocated is what was compressed, not what it might have been. */
const OUTPUT_BYTES = 4 * 1024 * 1024;

/** Turns blocks into zstd frames. A concatenation of frames is a zstd stream as any `zstd -d` reads it. */
export class FrameCompressor {
  readonly #contexts: FrameContexts;

  constructor(level: number) {
    this.#contexts = new FrameContexts(() =>
      createZstdCompress({
        // Each write ends its frame, and so the frame states its content's size.
        flush: constants.ZSTD_e_end,
        chunkSize: OUTPUT_BYTES,
        params: { [constants.ZSTD_c_compressionLevel]: level },
      }),
    );
  }

  /** `block`, not empty, must not change until this settles. */
  compress(block: Buffer): Promise<Buffer> {
    return this.#contexts.write(block);
  }

  /** Gives the memory back. Frames on their way are still finished. */
  close(): void {
    this.#contexts.close();
  }
}
