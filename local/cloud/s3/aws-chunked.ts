import { Transform, type TransformCallback } from 'node:stream';
import { S3Error } from './s3-error.ts';

/**
 * Takes the `aws-chunked` framing off a body: `<hex size>[;chunk-signature=…]\r\n<bytes>\r\n … 0\r\n<trailers>\r\n`.
 * Chunk signatures are not verified. Trailers are known once the stream has ended.
 */
export class AwsChunkedDecoder extends Transform {
  readonly trailers: Record<string, string> = {};
  #line = '';
  #state: 'size' | 'data' | 'data-end' | 'trailer' | 'end' = 'size';
  #left = 0;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    let at = 0;
    while (at < chunk.length && this.#state !== 'end') {
      if (this.#state === 'data') {
        const bytes = chunk.subarray(at, at + this.#left);
        this.push(bytes);
        at += bytes.length;
        this.#left -= bytes.length;
        if (this.#left === 0) this.#state = 'data-end';
        continue;
      }
      const newline = chunk.indexOf(0x0a, at);
      this.#line += chunk.toString('latin1', at, newline === -1 ? chunk.length : newline);
      at = newline === -1 ? chunk.length : newline + 1;
      if (newline === -1) break;
      const line = this.#line.replace(/\r$/, '');
      this.#line = '';
      const problem = this.#take(line);
      if (problem !== undefined) {
        done(problem);
        return;
      }
    }
    done();
  }

  #take(line: string): Error | undefined {
    if (this.#state === 'size') {
      const size = /^[0-9a-f]+(?=;|$)/i.exec(line)?.[0];
      if (size === undefined) return new S3Error(400, 'InvalidRequest', 'A chunk of the body has no size.');
      this.#left = Number.parseInt(size, 16);
      this.#state = this.#left === 0 ? 'trailer' : 'data';
    } else if (this.#state === 'data-end') {
      this.#state = 'size';
    } else if (line === '') {
      this.#state = 'end';
    } else {
      const colon = line.indexOf(':');
      this.trailers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim();
    }
    return undefined;
  }

  override _flush(done: TransformCallback): void {
    // Some senders leave the last empty line out: a body is whole once its zero chunk was seen.
    const whole = this.#state === 'end' || this.#state === 'trailer';
    done(whole ? null : new S3Error(400, 'IncompleteBody', 'The body ended before its last chunk.'));
  }
}
