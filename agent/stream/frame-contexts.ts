import type { ZstdCompress, ZstdDecompress } from 'node:zlib';

/** One zstd context: a write is a frame, either way. */
class FrameContext {
  readonly #stream: ZstdCompress | ZstdDecompress;
  #pieces: Buffer[] = [];

  constructor(stream: ZstdCompress | ZstdDecompress) {
    this.#stream = stream;
    stream.on('data', (piece: Buffer) => this.#pieces.push(piece));
  }

  write(input: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#stream.once('error', reject);
      this.#stream.write(input, (error) => {
        this.#stream.off('error', reject);
        if (error) {
          reject(error);
          return;
        }
        const pieces = this.#pieces;
        this.#pieces = [];
        resolve(pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces));
      });
    });
  }

  close(): void {
    this.#stream.destroy();
  }
}

/**
 * Compresses or decompresses frames on libuv's thread pool, as many at a time as it is called. The contexts are used again and again:
 * made anew for every frame they would be most of what the garbage collector has to do.
 */
export class FrameContexts {
  readonly #open: () => ZstdCompress | ZstdDecompress;
  readonly #idle: FrameContext[] = [];
  #closed = false;

  constructor(open: () => ZstdCompress | ZstdDecompress) {
    this.#open = open;
  }

  /** `input`, not empty, must not change until this settles. A context that failed is not used again. */
  async write(input: Buffer): Promise<Buffer> {
    const context = this.#idle.pop() ?? new FrameContext(this.#open());
    const output = await context.write(input);
    if (this.#closed) context.close();
    else this.#idle.push(context);
    return output;
  }

  /** Gives the memory back. Frames on their way are still finished. */
  close(): void {
    this.#closed = true;
    for (const context of this.#idle.splice(0)) context.close();
  }
}
