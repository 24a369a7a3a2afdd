import { createHash } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';
import { type ChecksumName, type Checksums, createHasher } from './checksums.ts';
import { S3Error } from './s3-error.ts';

/** What a body must turn out to be. Asked once the body has ended, because trailers come last. */
export interface Expectation {
  readonly length: number;
  readonly checksums: Checksums;
  /** `x-amz-content-sha256`, hex. */
  readonly payloadSha256?: string | undefined;
  /** `Content-MD5`, base64. */
  readonly md5?: string | undefined;
  /** A trailer that was announced and did not come. */
  readonly missingTrailer?: string | undefined;
}

/**
 * Passes a body on and holds its last chunk back until the whole is known to be what was promised: whoever reads behind
 * it never sees a wrong body to its end, so it cannot take one for complete.
 */
export class BodyVerifier extends Transform {
  readonly #expect: () => Expectation;
  readonly #hashers: ReadonlyMap<ChecksumName, ReturnType<typeof createHasher>>;
  readonly #payload: ReturnType<typeof createHash> | undefined;
  readonly #md5: ReturnType<typeof createHasher> | undefined;
  #held: Buffer | undefined;
  #length = 0;
  /** Of the body that passed; set when it ended well. */
  checksums: Checksums = {};

  constructor(
    algorithms: ReadonlySet<ChecksumName>,
    wants: { readonly payloadSha256: boolean; readonly md5: boolean },
    expect: () => Expectation,
  ) {
    super();
    this.#expect = expect;
    this.#hashers = new Map([...algorithms].map((name) => [name, createHasher(name)]));
    this.#payload = wants.payloadSha256 ? createHash('sha256') : undefined;
    this.#md5 = wants.md5 ? createHasher('md5') : undefined;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    for (const hasher of this.#hashers.values()) hasher.update(chunk);
    this.#payload?.update(chunk);
    this.#md5?.update(chunk);
    this.#length += chunk.length;
    if (this.#held !== undefined) this.push(this.#held);
    this.#held = chunk;
    done();
  }

  override _flush(done: TransformCallback): void {
    const problem = this.#problem();
    if (problem === undefined) done(null, this.#held);
    else done(problem);
  }

  #problem(): S3Error | undefined {
    const { length, checksums, payloadSha256, md5, missingTrailer } = this.#expect();
    if (missingTrailer !== undefined) {
      return new S3Error(
        400,
        'MalformedTrailerError',
        `The request announced the trailer ${missingTrailer} and did not send it.`,
      );
    }
    if (this.#length !== length) {
      return new S3Error(400, 'IncompleteBody', 'The body has not the number of bytes that Content-Length tells.');
    }
    if (payloadSha256 !== undefined && this.#payload?.digest('hex') !== payloadSha256) {
      const message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
      return new S3Error(400, 'XAmzContentSHA256Mismatch', message);
    }
    if (md5 !== undefined && this.#md5?.digest() !== md5) {
      return new S3Error(400, 'BadDigest', 'The Content-MD5 you specified did not match what we received.');
    }
    const computed = Object.fromEntries([...this.#hashers].map(([name, hasher]) => [name, hasher.digest()]));
    for (const [name, expected] of Object.entries(checksums)) {
      if (computed[name] !== expected) {
        const message = `The ${name.toUpperCase()} you specified did not match the calculated checksum.`;
        return new S3Error(400, 'BadDigest', message);
      }
    }
    this.checksums = computed;
    return undefined;
  }
}
