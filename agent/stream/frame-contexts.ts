import type { ZstdCompress, ZstdDecompress } from 'node:zlib';

/** One zstd context: a write is a frame, either way. */
class FrameContext {
  readonly #stream: ZstdCompress | ZstdDecompress;
  #pieces: Buffer[] = [];
  #room = 0;

  constructor(stream: ZstdCompress | ZstdDecompress) {
    this.#stream = stream;
    stream.on('data', (piece: Buffer) => {
      this.#room -= piece.length;
      if (this.#room >= 0) this.#pieces.push(piece);
      // Its write ends with what came out so far.
      else stream.destroy();
    });
  }

  write(input: Buffer, maxOutputBytes: number): Promise<Buffer> {
    this.#room = maxOutputBytes;
    return new Promise((resolve, reject) => {
      this.#stream.once('error', reject);
      this.#stream.write(input, (error) => {
        this.#stream.off('error', reject);
        if (error || this.#room < 0) {
          reject(error ?? new RangeError('more comes out of a frame than may'));
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

  /**
   * `input`, not empty, must not change until this settles. Rejects as soon as more than `maxOutputBytes` come out: zstd itself compares a frame
   * with the size that its header states at its end only. A context that failed is not used again.
   */
  async write(input: Buffer, maxOutputBytes = Number.POSITIVE_INFINITY): Promise<Buffer> {
    const context = this.#idle.pop() ?? new FrameContext(this.#open());
    const output = await context.write(input, maxOutputBytes);
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
