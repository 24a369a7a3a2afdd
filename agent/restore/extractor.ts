import { constants } from 'node:fs';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { freeBuffer } from '#agent/stream/free-buffer.ts';
import type { XbstreamEvent } from '#agent/stream/xbstream-reader.ts';
import { RedoubtError } from '#core/errors.ts';
import { diskFullOr } from './disk-full.ts';

const FLAGS = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW;
/** Writes that may wait for the disk at a time: what bounds the memory held by them. */
const OPERATIONS = 8;

/**
 * Writes the files of an xbstream below `root`, which it makes and which must not exist.
 *
 * Whatever the stream holds, nothing is written outside `root` and nothing that exists is opened: the reader refuses absolute paths and `..`,
 * every directory on the way was made here (so none is a symbolic link), and files are created, never opened. Buffers of `data`
 * events must stay as they are until `finish` settles.
 */
export class Extractor {
  readonly #root: string;
  readonly #directories = new Map<string, Promise<void>>();
  /** Each file's operations run in their order; different files do not wait for each other. */
  readonly #files = new Map<string, Promise<FileHandle | undefined>>();
  readonly #running = new Set<Promise<unknown>>();
  #failure: { readonly error: unknown } | undefined;

  private constructor(root: string) {
    this.#root = root;
  }

  static async create(root: string): Promise<Extractor> {
    await mkdir(root, { mode: 0o700 }).catch((error: unknown) => {
      throw diskFullOr(error, root);
    });
    return new Extractor(root);
  }

  /** Settles when there is room for the next event. Throws `DiskFull`, or `ObjectTampered` for a stream that writes a name twice. */
  async note(event: XbstreamEvent): Promise<void> {
    switch (event.kind) {
      case 'data':
        this.#then(event.path, async (file) => {
          let done = 0;
          while (done < event.data.length) {
            const { bytesWritten } = await file.write(event.data, done, event.data.length - done, event.offset + done);
            done += bytesWritten;
          }
          return file;
        });
        break;
      case 'hole':
        // Extends the file, so that a hole at its end counts as well; what is not written reads as zero.
        this.#then(event.path, async (file) => {
          await file.truncate(event.offset + event.bytes);
          return file;
        });
        break;
      case 'chunk':
        return;
      case 'end':
        this.#then(event.path, async (file) => {
          await file.close();
          return undefined;
        });
        break;
    }
    while (this.#running.size >= OPERATIONS) await Promise.race(this.#running);
    this.#throwFailure();
  }

  /** Gives the memory of `piece`, whose events were noted, back once they are written. */
  free(piece: Buffer): void {
    void Promise.allSettled(this.#running).then(() => freeBuffer(piece));
  }

  /** Everything is written and closed. */
  async finish(): Promise<void> {
    await Promise.all(this.#running);
    this.#throwFailure();
  }

  /** Closes what is open after a failure; never throws. */
  async abandon(): Promise<void> {
    await Promise.allSettled(this.#running);
    for (const file of this.#files.values()) await (await file)?.close().catch(() => undefined);
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #then(path: string, operation: (file: FileHandle) => Promise<FileHandle | undefined>): void {
    const before = this.#files.get(path) ?? this.#open(path);
    const after = before.then(
      async (file) => {
        if (file === undefined || this.#failure !== undefined) return file;
        try {
          return await operation(file);
        } catch (error) {
          this.#fail(error, path);
          return file;
        }
      },
      (error: unknown) => {
        this.#fail(error, path);
        return undefined;
      },
    );
    this.#files.set(path, after);
    const running: Promise<unknown> = after.finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  #fail(error: unknown, path: string): void {
    this.#failure ??= { error: diskFullOr(error, join(this.#root, path)) };
  }

  async #open(path: string): Promise<FileHandle> {
    try {
      await this.#makeDirectory(dirname(path));
      return await open(join(this.#root, path), FLAGS, 0o640);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST' || code === 'ENOTDIR' || code === 'EISDIR' || code === 'ELOOP')
        throw new RedoubtError('ObjectTampered', `the stream writes ${path} over something it wrote before`);
      throw error;
    }
  }

  /** Two files of a new directory may come at the same time: both wait for the one `mkdir`. */
  #makeDirectory(path: string): Promise<void> {
    if (path === '.') return Promise.resolve();
    const making =
      this.#directories.get(path) ??
      this.#makeDirectory(dirname(path)).then(() => mkdir(join(this.#root, path), { mode: 0o700 }));
    this.#directories.set(path, making);
    return making;
  }
}
