import { RedoubtError } from '#core/errors.ts';
import type { InventoryDocument } from './inventory-format.ts';
import { XBCRYPT_SUFFIX, XbcryptWalker } from './xbcrypt.ts';
import type { XbstreamEvent } from './xbstream-reader.ts';

/** How long every file that the engine encrypted is once it is decrypted, seen while the stream passes. */
export class PlainSizes {
  readonly #walkers = new Map<string, XbcryptWalker>();

  /** Throws `StreamCorrupt` where a file is not what `--encrypt` writes. */
  note(event: XbstreamEvent): void {
    if (!event.path.endsWith(XBCRYPT_SUFFIX) || (event.kind !== 'data' && event.kind !== 'end')) return;
    let walker = this.#walkers.get(event.path);
    if (walker === undefined) {
      walker = new XbcryptWalker();
      this.#walkers.set(event.path, walker);
    }
    if (event.kind === 'data') walker.push(event.data);
    else if (walker.plainBytes === undefined)
      throw new RedoubtError('StreamIncomplete', `${event.path} ends inside an encrypted chunk`);
  }

  /** `document` with these sizes. */
  addTo(document: InventoryDocument): InventoryDocument {
    return {
      ...document,
      files: document.files.map((file) => {
        const plainBytes = this.#walkers.get(file.path)?.plainBytes;
        return plainBytes === undefined ? file : { ...file, plainBytes };
      }),
    };
  }
}
