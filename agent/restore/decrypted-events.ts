import type { InventoryDocument } from '#agent/stream/inventory-format.ts';
import { plainPath, XBCRYPT_SUFFIX, XbcryptDecrypter } from '#agent/stream/xbcrypt.ts';
import type { XbstreamEvent } from '#agent/stream/xbstream-reader.ts';
import { RedoubtError } from '#core/errors.ts';

interface OpenFile {
  readonly decrypter: XbcryptDecrypter;
  /** Where its next plaintext goes. */
  position: number;
}

/**
 * The events of a stream as if the engine had not encrypted it: what an extraction writes is the plaintext, under the name without the suffix, and
 * no encrypted byte ever lies on the disk. A file must become exactly as long as its chunks announced when the backup was taken: stock
 * programs exit 0 over one that is empty or cut at a chunk border (recorded: 37, 38, 63j).
 */
export class DecryptedEvents {
  readonly #key: Buffer;
  readonly #files = new Map<string, OpenFile>();
  /** What every encrypted file of the stream becomes. */
  readonly #plainBytes: ReadonlyMap<string, number | undefined>;

  /** Throws `ObjectTampered` where a file is there both encrypted and in clear: one would be written over the other. */
  constructor({ files }: InventoryDocument, key: Buffer) {
    this.#key = key;
    this.#plainBytes = new Map(
      files.filter(({ path }) => path.endsWith(XBCRYPT_SUFFIX)).map(({ path, plainBytes }) => [path, plainBytes]),
    );
    const both = files.find(({ path }) => this.#plainBytes.has(`${path}${XBCRYPT_SUFFIX}`));
    if (both !== undefined)
      throw new RedoubtError('ObjectTampered', `the stream holds ${both.path} encrypted and in clear`);
  }

  /** Throws `StreamCorrupt`, `StreamIncomplete`, or `KeyInvalid`, naming the file. */
  *of(event: XbstreamEvent): Generator<XbstreamEvent, void, undefined> {
    if (!event.path.endsWith(XBCRYPT_SUFFIX)) {
      yield event;
      return;
    }
    const path = plainPath(event.path);
    const file = this.#files.get(event.path) ?? { decrypter: new XbcryptDecrypter(this.#key), position: 0 };
    this.#files.set(event.path, file);
    switch (event.kind) {
      case 'data':
        yield* this.#data(event.path, file, event.data);
        return;
      case 'hole':
        throw new RedoubtError('StreamCorrupt', `${event.path} is encrypted and has a hole`);
      case 'chunk':
        return;
      case 'end': {
        const { plainBytes } = file.decrypter;
        if (plainBytes === undefined)
          throw new RedoubtError('StreamIncomplete', `${event.path} ends inside an encrypted chunk`);
        const expected = this.#plainBytes.get(event.path);
        if (plainBytes !== expected)
          throw new RedoubtError('StreamIncomplete', `${path} was decrypted to ${plainBytes} bytes, not ${expected}`);
        this.#files.delete(event.path);
        yield { kind: 'end', path };
      }
    }
  }

  *#data(path: string, file: OpenFile, data: Buffer): Generator<XbstreamEvent, void, undefined> {
    try {
      for (const text of file.decrypter.push(data)) {
        yield { kind: 'data', path: plainPath(path), offset: file.position, data: text };
        file.position += text.length;
      }
    } catch (error) {
      if (error instanceof RedoubtError)
        throw new RedoubtError(error.code, `${path}: ${error.detail}`, { cause: error });
      throw error;
    }
  }
}
