import { RedoubtError } from '#core/errors.ts';
import { crc32Combine } from './crc32-combine.ts';
import type { InventoryDocument, InventoryFile } from './inventory-format.ts';
import type { XbstreamEvent } from './xbstream-reader.ts';

interface OpenFile {
  bytes: number;
  crc32: number;
  ended: boolean;
}

/**
 * Every file of a stream as it passed: fed with the reader's events, at backup and again at extraction, so that both sides
 * know the same of the same stream. Throws `StreamCorrupt` where a chunk comes out of order or after its file's end.
 */
export class Inventory {
  readonly #files = new Map<string, OpenFile>();
  #open = 0;
  #bytes = 0;

  /** Files seen, ended or not. */
  get files(): number {
    return this.#files.size;
  }

  /** The sum of the files' sizes. */
  get bytes(): number {
    return this.#bytes;
  }

  note(event: XbstreamEvent): void {
    switch (event.kind) {
      case 'data':
      case 'hole':
        return;
      case 'chunk': {
        const file = this.#fileOf(event.path);
        if (event.offset !== file.bytes) {
          throw new RedoubtError(
            'StreamCorrupt',
            `a chunk of ${event.path} for offset ${event.offset} comes where ${file.bytes} is due`,
          );
        }
        file.crc32 = crc32Combine(file.crc32, event.crc32, event.bytes);
        file.bytes += event.bytes;
        this.#bytes += event.bytes;
        return;
      }
      case 'end':
        this.#fileOf(event.path).ended = true;
        this.#open--;
        return;
    }
  }

  /** The stream has ended. Throws `StreamIncomplete` where a file has no end or there is none at all. */
  finish(): InventoryDocument {
    if (this.#files.size === 0) throw new RedoubtError('StreamIncomplete', 'the stream holds no file');
    if (this.#open > 0) {
      const unended = [...this.#files].filter(([, file]) => !file.ended).map(([path]) => path);
      throw new RedoubtError(
        'StreamIncomplete',
        `${unended.length} files have no end, among them ${unended.slice(0, 5).join(', ')}`,
      );
    }
    const files: InventoryFile[] = [...this.#files].map(([path, { bytes, crc32 }]) => ({ path, bytes, crc32 }));
    return {
      format: 'redoubt-inventory',
      version: 1,
      files: files.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0)),
    };
  }

  #fileOf(path: string): OpenFile {
    const known = this.#files.get(path);
    if (known === undefined) {
      const file: OpenFile = { bytes: 0, crc32: 0, ended: false };
      this.#files.set(path, file);
      this.#open++;
      return file;
    }
    if (known.ended) throw new RedoubtError('StreamCorrupt', `${path} goes on after its end`);
    return known;
  }
}

/** What differs between the inventory of the backup and that of its extraction, in words; `undefined` where nothing does. */
export const inventoryDifference = (was: InventoryDocument, is: InventoryDocument): string | undefined => {
  const found = new Map(is.files.map((file) => [file.path, file]));
  for (const file of was.files) {
    const other = found.get(file.path);
    if (other === undefined) return `${file.path} is missing`;
    if (other.bytes !== file.bytes) return `${file.path} has ${other.bytes} bytes, not ${file.bytes}`;
    if (other.crc32 !== file.crc32) return `${file.path} has another content`;
    found.delete(file.path);
  }
  const [extra] = found.keys();
  return extra === undefined ? undefined : `${extra} is not in the inventory`;
};
