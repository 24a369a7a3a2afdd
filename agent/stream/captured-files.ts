import { RedoubtError } from '#core/errors.ts';
import type { XbstreamEvent } from './xbstream-reader.ts';

/** Far above what the engines write into the files that are captured. */
const MAX_BYTES = 1024 * 1024;

/** The content of small files of a stream, kept while it passes: what the engine says of the backup itself. */
export class CapturedFiles {
  readonly #wanted: (path: string) => boolean;
  readonly #files = new Map<string, Buffer[]>();
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(wanted: (path: string) => boolean, maxBytes = MAX_BYTES) {
    this.#wanted = wanted;
    this.#maxBytes = maxBytes;
  }

  note(event: XbstreamEvent): void {
    if (event.kind !== 'data' || !this.#wanted(event.path)) return;
    this.#bytes += event.data.length;
    if (this.#bytes > this.#maxBytes) throw new RedoubtError('StreamCorrupt', `${event.path} is larger than it can be`);
    const pieces = this.#files.get(event.path);
    // A copy: the reader's buffer is used again.
    if (pieces === undefined) this.#files.set(event.path, [Buffer.from(event.data)]);
    else pieces.push(Buffer.from(event.data));
  }

  /** The bytes of `path`, or `undefined` where no such file passed. */
  content(path: string): Buffer | undefined {
    const pieces = this.#files.get(path);
    return pieces === undefined ? undefined : Buffer.concat(pieces);
  }

  /** The text of `path`. */
  text(path: string): string | undefined {
    return this.content(path)?.toString('utf8');
  }
}
