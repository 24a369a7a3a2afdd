import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';

/** More than a socket's send buffer holds by default, so that one read empties it. */
const READ_BYTES = 512 * 1024;

/**
 * A pipe to a child process that is read into one buffer over and over. What Node offers for a child's output allocates
 * 64 KiB for every read; at hundreds of megabytes a second the garbage collector then costs as much as the checksums do.
 *
 * Give `theirs` to the child as its standard output, then `closeTheirs`, then iterate: each piece is valid until the next is
 * asked for. The iteration ends when every process that holds the other end has closed it.
 */
export class EnginePipe implements AsyncIterable<Buffer> {
  readonly theirs: Socket;
  readonly #ours: Socket;
  #piece: Buffer | undefined;
  #closed = false;
  #error: Error | undefined;
  #wake: () => void = () => undefined;

  /** `privateDirectory` must be closed to other users: who can connect there first would read the stream. */
  static async open(privateDirectory: string): Promise<EnginePipe> {
    const path = join(privateDirectory, 'engine.sock');
    const server = createServer({ pauseOnConnect: true });
    server.listen(path);
    await once(server, 'listening');
    try {
      let pipe: EnginePipe | undefined;
      const ours = connect({
        path,
        onread: {
          buffer: Buffer.allocUnsafeSlow(READ_BYTES),
          callback: (bytes, buffer) => {
            pipe?.take(Buffer.from(buffer.buffer, buffer.byteOffset, bytes));
            // Reading goes on when the next piece is asked for.
            return false;
          },
        },
      });
      ours.pause();
      const [[theirs]] = await Promise.all([once(server, 'connection'), once(ours, 'connect')]);
      pipe = new EnginePipe(ours, theirs as Socket);
      return pipe;
    } finally {
      server.close();
      rmSync(path, { force: true });
    }
  }

  private constructor(ours: Socket, theirs: Socket) {
    this.#ours = ours;
    this.theirs = theirs;
    ours.on('error', (error) => {
      this.#error = error;
    });
    ours.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
  }

  /** The parent's copy of the child's end: as long as it is open, the stream does not end. */
  closeTheirs(): void {
    this.theirs.destroy();
  }

  take(piece: Buffer): void {
    this.#piece = piece;
    this.#wake();
  }

  destroy(): void {
    this.#ours.destroy();
    this.theirs.destroy();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    try {
      for (;;) {
        if (this.#piece === undefined && !this.#closed) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
            this.#ours.resume();
          });
        }
        const piece = this.#piece;
        this.#piece = undefined;
        if (piece !== undefined) yield piece;
        else if (this.#closed) break;
      }
    } finally {
      this.destroy();
    }
    if (this.#error !== undefined) throw this.#error;
  }
}
