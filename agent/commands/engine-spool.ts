import { createWriteStream, type WriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { finished } from 'node:stream/promises';
import { withoutSecrets } from '../engines/log-lines.ts';

/** Kept of either end of a log that is longer than both. */
const END_BYTES = 16 * 1024 * 1024;

/** The whole of an engine's standard error, on disk while it runs; without the secrets an engine may print. */
export class EngineSpool {
  readonly #path: string;
  readonly #stream: WriteStream;

  constructor(path: string) {
    this.#path = path;
    this.#stream = createWriteStream(path, { flags: 'wx', mode: 0o600 });
    // A full disk must not end the backup: the log that is judged is in memory.
    this.#stream.on('error', () => undefined);
  }

  line(text: string): void {
    this.#stream.write(`${withoutSecrets(text)}\n`);
  }

  /** What was written; of a very long log the beginning and the end. */
  async content(): Promise<Buffer> {
    this.#stream.end();
    await finished(this.#stream).catch(() => undefined);
    const file = await open(this.#path, 'r');
    try {
      const { size } = await file.stat();
      const read = async (from: number, bytes: number): Promise<Buffer> => {
        const buffer = Buffer.alloc(bytes);
        const { bytesRead } = await file.read(buffer, 0, bytes, from);
        return buffer.subarray(0, bytesRead);
      };
      if (size <= 2 * END_BYTES) return await read(0, size);
      const left = `\n[${size - 2 * END_BYTES} bytes left out]\n`;
      return Buffer.concat([await read(0, END_BYTES), Buffer.from(left), await read(size - END_BYTES, END_BYTES)]);
    } finally {
      await file.close();
    }
  }
}
