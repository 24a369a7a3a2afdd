import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { RedoubtError } from '#core/errors.ts';
import type { GetOptions, ObjectHead, Repository, Upload } from './repository.ts';

/** S3 writes CRC-32 as four bytes, high first, in base64. */
const encodeCrc32 = (sum: number): string => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(sum);
  return bytes.toString('base64');
};

const decodeCrc32 = (text: string): number | undefined => {
  const bytes = Buffer.from(text, 'base64');
  return bytes.length === 4 ? bytes.readUInt32BE(0) : undefined;
};

const REFUSALS = new Set([
  'AccessDenied',
  'AccountProblem',
  'AllAccessDisabled',
  'CredentialsProviderError',
  'ExpiredToken',
  'Forbidden',
  'InvalidAccessKeyId',
  'NoSuchBucket',
  'PermanentRedirect',
  'SignatureDoesNotMatch',
]);

const MISSING = new Set(['NoSuchKey', 'NoSuchVersion', 'NotFound', 'MethodNotAllowed']);

const statusOf = (error: unknown): number | undefined =>
  error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : String(error));

const isConflict = (error: unknown): boolean =>
  ['PreconditionFailed', 'ConditionalRequestConflict', 'NoSuchUpload'].includes(nameOf(error)) ||
  statusOf(error) === 412;

/** Tries of a conditional write that met another one in progress, each after twice the pause of the one before. */
const CONFLICT_RETRIES = 4;

/**
 * S3 decides a conditional write only when no other write of the key is in progress, and answers 409 until then; the SDK does not take that for
 * a reason to retry. The other one is as a rule our own, whose answer got lost.
 */
const untilDecided = async <T>(write: () => Promise<T>, signal: AbortSignal): Promise<T> => {
  for (let tries = 0; ; tries++) {
    try {
      return await write();
    } catch (error) {
      if (nameOf(error) !== 'ConditionalRequestConflict' || tries >= CONFLICT_RETRIES || signal.aborted) throw error;
      await sleep(200 * 2 ** tries, undefined, { signal }).catch(() => undefined);
    }
  }
};

/** The signal's reason, where the error is only its echo. */
const named = (
  error: unknown,
  what: string,
  otherwise: 'UploadFailed' | 'RepositoryUnavailable',
  signal: AbortSignal,
) => {
  if (signal.aborted) return signal.reason;
  if (error instanceof RedoubtError) return error;
  const name = nameOf(error);
  const status = statusOf(error);
  const code =
    REFUSALS.has(name) || status === 403 || status === 401
      ? 'RepositoryRefused'
      : otherwise === 'RepositoryUnavailable' && (MISSING.has(name) || status === 404)
        ? 'ObjectMissing'
        : otherwise;
  const message = error instanceof Error && error.message !== name ? `${name}: ${error.message}` : name;
  return new RedoubtError(code, `${what}: ${message}`, { cause: error });
};

/** Tries of a read that broke off in its middle without having brought a byte; the SDK's own retries end with the headers. */
const READ_RETRIES = 5;

/**
 * The client the agent uses. Region, credentials and endpoint come from the environment, as the SDK reads them; an endpoint
 * that is an IP address is addressed by path, as the SDK's endpoint rules have it.
 */
export const createS3Client = (): S3Client => {
  const client = new S3Client({
    maxAttempts: 8,
    // Bodies are summed here, once; the SDK must not do it again.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: 10_000,
      socketTimeout: 60_000,
      httpsAgent: { maxSockets: 32, keepAlive: true },
    },
  });
  // Without this header SigV4 hashes every body of bytes with SHA-256. TLS and the checksum that goes along protect it instead.
  client.middlewareStack.add(
    (next) => (args) => {
      const request = args.request as { headers?: Record<string, string>; body?: unknown };
      if (request.headers !== undefined && ArrayBuffer.isView(request.body))
        request.headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
      return next(args);
    },
    { step: 'build', name: 'redoubtUnsignedPayload' },
  );
  return client;
};

export class S3Repository implements Repository {
  readonly #s3: S3Client;
  readonly #bucket: string;
  readonly #signal: AbortSignal;

  /** Every request ends with the signal. */
  constructor(s3: S3Client, bucket: string, signal: AbortSignal) {
    this.#s3 = s3;
    this.#bucket = bucket;
    this.#signal = signal;
  }

  async get(key: string, options: GetOptions = {}): Promise<Readable> {
    const from = options.range?.from ?? 0;
    const first = await this.#open(key, options, from, undefined);
    return Readable.from(this.#resuming(key, options, from, first), { objectMode: false });
  }

  async read(key: string, maxBytes: number, options: GetOptions = {}): Promise<Buffer> {
    const pieces: Buffer[] = [];
    let bytes = 0;
    for await (const piece of (await this.get(key, options)) as AsyncIterable<Buffer>) {
      bytes += piece.length;
      if (bytes > maxBytes) throw new RedoubtError('ObjectTampered', `${key} is larger than ${maxBytes} bytes`);
      pieces.push(piece);
    }
    return Buffer.concat(pieces);
  }

  async head(key: string, version?: string): Promise<ObjectHead> {
    try {
      const head = await this.#s3.send(
        new HeadObjectCommand({
          Bucket: this.#bucket,
          Key: key,
          ChecksumMode: 'ENABLED',
          ...(version === undefined ? {} : { VersionId: version }),
        }),
        { abortSignal: this.#signal },
      );
      // A composite checksum (`…-3`) is not one of the object.
      const crc = head.ChecksumCRC32 === undefined ? undefined : decodeCrc32(head.ChecksumCRC32);
      return { bytes: head.ContentLength ?? 0, crc32: crc, version: head.VersionId };
    } catch (error) {
      throw named(error, `cannot ask for ${key}`, 'RepositoryUnavailable', this.#signal);
    }
  }

  async create(key: string, body: Buffer) {
    const object = { key, bytes: body.length, sha256: createHash('sha256').update(body).digest('hex') };
    const put = new PutObjectCommand({
      Bucket: this.#bucket,
      Key: key,
      Body: body,
      IfNoneMatch: '*',
      ChecksumCRC32: encodeCrc32(crc32(body)),
    });
    try {
      const { VersionId: version } = await untilDecided(
        () => this.#s3.send(put, { abortSignal: this.#signal }),
        this.#signal,
      );
      return version === undefined ? object : { ...object, version };
    } catch (error) {
      // An answer that got lost makes the SDK's retry meet its own object: that is success.
      if (isConflict(error) && (await this.#holds(key, body))) {
        const { version } = await this.head(key);
        return version === undefined ? object : { ...object, version };
      }
      throw named(error, `cannot write ${key}`, 'UploadFailed', this.#signal);
    }
  }

  async overwrite(key: string, body: Buffer): Promise<void> {
    try {
      const put = new PutObjectCommand({
        Bucket: this.#bucket,
        Key: key,
        Body: body,
        ContentType: 'application/json',
        ChecksumCRC32: encodeCrc32(crc32(body)),
      });
      await this.#s3.send(put, { abortSignal: this.#signal });
    } catch (error) {
      throw named(error, `cannot write ${key}`, 'UploadFailed', this.#signal);
    }
  }

  async startUpload(key: string): Promise<Upload> {
    const where = { Bucket: this.#bucket, Key: key };
    const abortSignal = this.#signal;
    const guard = <T>(work: Promise<T>): Promise<T> =>
      work.catch((error: unknown) => {
        throw named(error, `cannot upload ${key}`, 'UploadFailed', abortSignal);
      });
    // S3 sums the whole object itself and compares it with ours at the end.
    const { UploadId } = await guard(
      this.#s3.send(
        new CreateMultipartUploadCommand({ ...where, ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' }),
        { abortSignal },
      ),
    );
    const parts = new Map<number, { PartNumber: number; ETag: string | undefined; ChecksumCRC32: string }>();
    let bytes = 0;

    return {
      part: async (number, body, sum) => {
        const ChecksumCRC32 = encodeCrc32(sum);
        const { ETag } = await guard(
          this.#s3.send(new UploadPartCommand({ ...where, UploadId, PartNumber: number, Body: body, ChecksumCRC32 }), {
            abortSignal,
          }),
        );
        parts.set(number, { PartNumber: number, ETag, ChecksumCRC32 });
        bytes += body.length;
      },
      complete: async (sum) => {
        const Parts = [...parts.values()].sort((a, b) => a.PartNumber - b.PartNumber);
        const ChecksumCRC32 = encodeCrc32(sum);
        try {
          const command = new CompleteMultipartUploadCommand({
            ...where,
            UploadId,
            MultipartUpload: { Parts },
            ChecksumCRC32,
            ChecksumType: 'FULL_OBJECT',
            MpuObjectSize: bytes,
            IfNoneMatch: '*',
          });
          const { VersionId: version } = await untilDecided(() => this.#s3.send(command, { abortSignal }), abortSignal);
          return { version };
        } catch (error) {
          // As in `create`: the retry of a completion whose answer got lost.
          if (isConflict(error)) {
            const head = await this.head(key).catch(() => undefined);
            if (head?.bytes === bytes && (head.crc32 === undefined || head.crc32 === sum))
              return { version: head.version };
          }
          throw named(error, `cannot complete ${key}`, 'UploadFailed', abortSignal);
        }
      },
      abort: async () => {
        // Not with the run's signal: it is aborted when this is called. What remains, the bucket's lifecycle removes.
        await this.#s3
          .send(new AbortMultipartUploadCommand({ ...where, UploadId }), { abortSignal: AbortSignal.timeout(20_000) })
          .catch(() => undefined);
      },
    };
  }

  async #holds(key: string, body: Buffer): Promise<boolean> {
    try {
      return (await this.read(key, body.length)).equals(body);
    } catch {
      return false;
    }
  }

  async #open(key: string, { version, range }: GetOptions, from: number, etag: string | undefined) {
    const ranged = range !== undefined || from > 0;
    try {
      const answer = await this.#s3.send(
        new GetObjectCommand({
          Bucket: this.#bucket,
          Key: key,
          ...(version === undefined ? {} : { VersionId: version }),
          ...(ranged ? { Range: `bytes=${from}-${range?.to ?? ''}` } : {}),
          ...(etag === undefined ? {} : { IfMatch: etag }),
        }),
        { abortSignal: this.#signal },
      );
      return { body: answer.Body as Readable, bytes: answer.ContentLength, etag: answer.ETag };
    } catch (error) {
      throw named(error, `cannot read ${key}`, 'RepositoryUnavailable', this.#signal);
    }
  }

  /** Connections break in the middle of large objects: the rest is asked for again, of the very same object. */
  async *#resuming(
    key: string,
    options: GetOptions,
    start: number,
    first: { readonly body: Readable; readonly bytes: number | undefined; readonly etag: string | undefined },
  ): AsyncGenerator<Buffer, void, undefined> {
    let { body } = first;
    let at = start;
    const end = first.bytes === undefined ? undefined : start + first.bytes;
    for (let fruitless = 0; ; ) {
      const before = at;
      try {
        for await (const piece of body as AsyncIterable<Buffer>) {
          at += piece.length;
          yield piece;
        }
        if (end === undefined || at >= end) return;
        throw new Error(`the body ended ${end - at} bytes early`);
      } catch (error) {
        if (at === before) fruitless++;
        else fruitless = 0;
        if (this.#signal.aborted || fruitless > READ_RETRIES)
          throw named(error, `cannot read ${key}`, 'RepositoryUnavailable', this.#signal);
        await sleep(200 * 2 ** fruitless, undefined, { signal: this.#signal }).catch(() => undefined);
        ({ body } = await this.#open(key, options, at, first.etag));
      }
    }
  }
}
