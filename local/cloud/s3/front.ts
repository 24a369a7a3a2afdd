import { createReadStream } from 'node:fs';
import {
  Agent,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { PassThrough, type Transform, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { region } from '../principals.ts';
import { AwsChunkedDecoder } from './aws-chunked.ts';
import { BodyVerifier } from './body-verifier.ts';
import {
  type ChecksumName,
  type Checksums,
  checksumNames,
  compositeChecksum,
  createHasher,
  isChecksumName,
} from './checksums.ts';
import { type Fault, type FaultInjector, impede } from './fault-injector.ts';
import type { ObjectStore, StoredPart } from './object-store.ts';
import { errorBody, escapeXml, S3Error, unescapeXml } from './s3-error.ts';
import { actionOf, readRequest, refuseExpired, type S3Request } from './s3-request.ts';

/** What a bucket or role policy is asked. */
export interface S3Access {
  readonly caller: string;
  /** Such as `s3:PutObject`. */
  readonly action: string;
  /** The ARN of the object, or of the bucket. */
  readonly resource: string;
  /** Condition keys, such as `s3:if-none-match` and `s3:prefix`. */
  readonly context: Readonly<Record<string, string | undefined>>;
}

export interface FrontOptions {
  readonly store: ObjectStore;
  /** Where the server behind listens. */
  readonly origin: URL;
  readonly faults: FaultInjector;
  readonly allows: (access: S3Access) => boolean;
  readonly now: () => Date;
}

const minimumPartBytes = 5 * 1024 * 1024;
const longestXml = 8 * 1024 * 1024;

/** Header fields of the connection, of the signature, and of what the front itself sees to. */
const keptBack =
  /^(connection|host|transfer-encoding|content-length|expect|authorization|content-md5|if-match|if-none-match|x-amz-content-sha256|x-amz-date|x-amz-security-token|x-amz-decoded-content-length|x-amz-trailer|x-amz-sdk-.*|x-amz-checksum-.*|amz-sdk-.*|x-redoubt-.*)$/;

const parametersKept = ['uploads', 'uploadId', 'partNumber', 'delete', 'location'];

/** Runs what is about one key one after the other. */
class KeyLocks {
  readonly #tails = new Map<string, Promise<unknown>>();

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const mine = before.then(work, work);
    const tail = mine.catch(() => {});
    this.#tails.set(key, tail);
    try {
      return await mine;
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}

const readText = async (message: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > longestXml) throw new S3Error(400, 'MaxMessageLengthExceeded', 'Your request was too large.');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
};

const elements = (xml: string, name: string): readonly string[] =>
  [...xml.matchAll(new RegExp(`<${name}>([\\s\\S]*?)</${name}>`, 'g'))].map(([, content = '']) => content);

const checksumElement = (name: ChecksumName): string => `Checksum${name.toUpperCase()}`;

const checksumXml = (checksums: Checksums): string =>
  Object.entries(checksums)
    .map(
      ([name, value]) =>
        `<${checksumElement(name as ChecksumName)}>${value}</${checksumElement(name as ChecksumName)}>`,
    )
    .join('');

const xmlDocument = (root: string, content: string): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<${root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${content}</${root}>`;

const algorithmOf = (name: string | undefined): ChecksumName | undefined => {
  if (name === undefined) return undefined;
  const lower = name.toLowerCase();
  if (!isChecksumName(lower)) throw new S3Error(501, 'NotImplemented', `The local S3 has no checksum ${name}.`);
  return lower;
};

const noSuchUpload = () =>
  new S3Error(
    404,
    'NoSuchUpload',
    'The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.',
  );

/** One request on its way through the front. */
class Exchange {
  readonly request: S3Request;
  readonly message: IncomingMessage;
  readonly response: ServerResponse;
  readonly faults: readonly Fault[];

  constructor(request: S3Request, message: IncomingMessage, response: ServerResponse, faults: readonly Fault[]) {
    this.request = request;
    this.message = message;
    this.response = response;
    this.faults = faults;
  }

  cut(): void {
    // Already gone when the request's body was what failed.
    this.message.socket?.resetAndDestroy();
  }

  impeded(): Transform {
    return impede(this.faults, () => this.cut()) ?? new PassThrough();
  }

  answer(status: number, headers: Readonly<Record<string, string>> = {}, body = ''): void {
    if (this.faults.some(({ kind }) => kind === 'lose-answer')) this.cut();
    if (this.response.destroyed || (this.message.destroyed && !this.message.complete)) return;
    const type = body === '' ? {} : { 'content-type': 'application/xml' };
    this.response.writeHead(status, { ...type, ...headers, 'content-length': String(Buffer.byteLength(body)) });
    this.response.end(this.request.method === 'HEAD' ? undefined : body);
  }

  checksumHeaders(checksums: Checksums): Record<string, string> {
    return Object.fromEntries(Object.entries(checksums).map(([name, value]) => [`x-amz-checksum-${name}`, value]));
  }
}

/**
 * What S3 promises and the server behind does not do: conditional writes, checksums, multipart listings and aborts, access
 * policies, expiry of presigned addresses; and faults for tests. Bodies of objects stream through. Signatures are not
 * verified; the router tells the caller in `x-redoubt-caller`, and whoever comes without it is the operator.
 *
 * Not there: versions, Object Lock, tags, ACLs, encryption settings, UploadPartCopy, CRC32C.
 */
export const createFront = ({ store, origin, faults, allows, now }: FrontOptions): Server => {
  const locks = new KeyLocks();
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });

  /** Sends a request to the server behind; `body` writes what it carries. */
  const behind = async (
    { request }: Exchange,
    {
      length,
      body,
      more,
    }: { length?: number; body?: (to: Writable) => Promise<void>; more?: Record<string, string> } = {},
  ): Promise<IncomingMessage> => {
    const query = new URLSearchParams([...request.query].filter(([name]) => parametersKept.includes(name)));
    const search = query.size === 0 ? '' : `?${query}`;
    const headers: Record<string, string> = { host: origin.host };
    for (const [name, value] of Object.entries(request.headers)) {
      if (value !== undefined && !keptBack.test(name)) headers[name] = value;
    }
    if (headers['content-encoding'] !== undefined) {
      const encodings = headers['content-encoding'].split(',').map((encoding) => encoding.trim());
      headers['content-encoding'] = encodings.filter((encoding) => encoding !== 'aws-chunked').join(',');
      if (headers['content-encoding'] === '') delete headers['content-encoding'];
    }
    if (length !== undefined) headers['content-length'] = String(length);
    const outgoing = httpRequest({
      agent,
      hostname: origin.hostname,
      port: origin.port,
      method: request.method,
      path: `${request.path}${search}`,
      headers: { ...headers, ...more },
    });
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      outgoing.once('response', resolve).once('error', reject);
    });
    answered.catch(() => {});
    try {
      if (body === undefined) outgoing.end();
      else await body(outgoing);
    } catch (error) {
      // The server behind must not take what came so far for the whole.
      outgoing.destroy();
      throw error;
    }
    return answered;
  };

  const textOf = async (answer: IncomingMessage): Promise<string> => {
    answer.setEncoding('utf8');
    let text = '';
    for await (const chunk of answer) text += chunk;
    return text;
  };

  /** The body of a PutObject or an UploadPart, decoded and verified, on its way to the server behind. */
  const upload = async (exchange: Exchange, algorithms: ReadonlySet<ChecksumName>) => {
    const { headers } = exchange.request;
    const chunked =
      /aws-chunked/.test(headers['content-encoding'] ?? '') ||
      (headers['x-amz-content-sha256'] ?? '').startsWith('STREAMING-');
    const declared = headers[chunked ? 'x-amz-decoded-content-length' : 'content-length'];
    if (declared === undefined)
      throw new S3Error(411, 'MissingContentLength', 'You must provide the Content-Length HTTP header.');
    const length = Number(declared);
    const decoder = chunked ? new AwsChunkedDecoder() : new PassThrough();

    const trailerNames = (headers['x-amz-trailer'] ?? '').split(',').map((name) => name.trim().toLowerCase());
    const promised = [...Object.keys(headers), ...trailerNames].flatMap((name) => {
      const algorithm = /^x-amz-checksum-(.+)$/.exec(name)?.[1] ?? '';
      return isChecksumName(algorithm) ? [algorithm] : [];
    });
    const asked = algorithmOf(headers['x-amz-sdk-checksum-algorithm']);
    const payloadSha256 = /^[0-9a-f]{64}$/.exec(headers['x-amz-content-sha256'] ?? '')?.[0];
    const md5 = headers['content-md5'];
    const verifier = new BodyVerifier(
      new Set([...promised, ...algorithms, ...(asked === undefined ? [] : [asked])]),
      { payloadSha256: payloadSha256 !== undefined, md5: md5 !== undefined },
      () => {
        const sent = { ...headers, ...(decoder instanceof AwsChunkedDecoder ? decoder.trailers : {}) };
        const checksums = Object.fromEntries(
          checksumNames.flatMap((name) => {
            const value = sent[`x-amz-checksum-${name}`];
            return value === undefined ? [] : [[name, value]];
          }),
        );
        const missing = trailerNames.find((name) => name !== '' && sent[name] === undefined);
        return { length, checksums, payloadSha256, md5, missingTrailer: missing };
      },
    );
    const answer = await behind(exchange, {
      length,
      body: (to) => pipeline(exchange.message, exchange.impeded(), decoder, verifier, to),
    });
    const text = await textOf(answer);
    if (answer.statusCode !== 200) return { passed: false as const, status: answer.statusCode ?? 500, text };
    return { passed: true as const, etag: answer.headers.etag ?? '', checksums: verifier.checksums };
  };

  /** @throws S3Error when the object that is there now does not fit the request's conditions */
  const refuseUnmet = async ({ bucket, key, headers }: S3Request): Promise<void> => {
    const noneMatch = headers['if-none-match'];
    const match = headers['if-match'];
    if (noneMatch !== undefined && noneMatch !== '*') {
      throw new S3Error(501, 'NotImplemented', 'A header you provided implies functionality that is not implemented');
    }
    if (noneMatch === undefined && match === undefined) return;
    const existing = await store.head(bucket, key);
    const unmet = 'At least one of the pre-conditions you specified did not hold';
    if (noneMatch !== undefined && existing !== undefined) throw new S3Error(412, 'PreconditionFailed', unmet);
    if (match === undefined) return;
    if (existing === undefined) throw new S3Error(404, 'NoSuchKey', 'The specified key does not exist.');
    if (existing.etag.replaceAll('"', '') !== match.replaceAll('"', ''))
      throw new S3Error(412, 'PreconditionFailed', unmet);
  };

  const uploadOf = async ({ bucket, key, query }: S3Request) => {
    const found = await store.upload(bucket, query.get('uploadId') ?? '');
    if (found === undefined || found.key !== key) throw noSuchUpload();
    return found;
  };

  const relay = async (exchange: Exchange, answer: IncomingMessage, more: Readonly<Record<string, string>> = {}) => {
    if (exchange.faults.some(({ kind }) => kind === 'lose-answer')) {
      answer.destroy();
      return exchange.cut();
    }
    const { connection: _, 'transfer-encoding': __, date: ___, ...headers } = answer.headers;
    exchange.response.writeHead(answer.statusCode ?? 500, { ...headers, ...more });
    await pipeline(answer, exchange.impeded(), exchange.response);
  };

  const lockOf = ({ bucket, key }: S3Request) => `${bucket}/${key}`;

  const operations: Readonly<Record<string, (exchange: Exchange) => Promise<void>>> = {
    PutObject: (exchange) =>
      // The key is held from the condition to the commit: of two conditional writers at most one gets through.
      locks.run(lockOf(exchange.request), async () => {
        await refuseUnmet(exchange.request);
        const { bucket, key } = exchange.request;
        const put = await upload(exchange, new Set());
        if (!put.passed) return exchange.answer(put.status, {}, put.text);
        await store.putChecksums(bucket, key, { etag: put.etag, type: 'FULL_OBJECT', checksums: put.checksums });
        exchange.answer(200, { etag: put.etag, ...exchange.checksumHeaders(put.checksums) });
      }),

    CopyObject: (exchange) =>
      locks.run(lockOf(exchange.request), async () => {
        const { bucket, key, headers } = exchange.request;
        const answer = await behind(exchange);
        const text = await textOf(answer);
        const copy = await store.head(bucket, key);
        const [sourceBucket = '', ...source] = decodeURIComponent(headers['x-amz-copy-source'] ?? '')
          .replace(/^\//, '')
          .split('/');
        const checksums =
          copy === undefined ? undefined : await store.checksums(sourceBucket, source.join('/'), copy.etag);
        if (answer.statusCode === 200 && checksums !== undefined) await store.putChecksums(bucket, key, checksums);
        exchange.answer(answer.statusCode ?? 500, {}, text);
      }),

    DeleteObject: (exchange) =>
      locks.run(lockOf(exchange.request), async () => relay(exchange, await behind(exchange))),

    async DeleteObjects(exchange) {
      const { bucket, caller } = exchange.request;
      const xml = await readText(exchange.message);
      const keys = elements(xml, 'Object').map((object) => unescapeXml(elements(object, 'Key')[0] ?? ''));
      const allowed = keys.filter((key) =>
        allows({ caller, action: 's3:DeleteObject', resource: `arn:aws:s3:::${bucket}/${key}`, context: {} }),
      );
      for (const key of allowed) await locks.run(`${bucket}/${key}`, () => store.deleteObject(bucket, key));
      const quiet = /<Quiet>true<\/Quiet>/.test(xml);
      const deleted = quiet ? '' : allowed.map((key) => `<Deleted><Key>${escapeXml(key)}</Key></Deleted>`).join('');
      const denied = keys
        .filter((key) => !allowed.includes(key))
        .map(
          (key) =>
            `<Error><Key>${escapeXml(key)}</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`,
        )
        .join('');
      exchange.answer(200, {}, xmlDocument('DeleteResult', deleted + denied));
    },

    async CreateMultipartUpload(exchange) {
      const { headers } = exchange.request;
      const algorithm = headers['x-amz-checksum-algorithm'];
      algorithmOf(algorithm);
      // Kept with the upload, since its completion asks for them.
      const kept = {
        ...(algorithm === undefined ? {} : { 'x-redoubt-checksum-algorithm': algorithm }),
        ...(headers['x-amz-checksum-type'] === undefined
          ? {}
          : { 'x-redoubt-checksum-type': headers['x-amz-checksum-type'] }),
      };
      const answer = await behind(exchange, { more: kept });
      await relay(exchange, answer, algorithm === undefined ? {} : { 'x-amz-checksum-algorithm': algorithm });
    },

    async UploadPart(exchange) {
      const { bucket, query } = exchange.request;
      const number = Number(query.get('partNumber'));
      if (!Number.isInteger(number) || number < 1 || number > 10_000) {
        throw new S3Error(400, 'InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive');
      }
      const into = await uploadOf(exchange.request);
      const algorithm = algorithmOf(into.headers['x-redoubt-checksum-algorithm']);
      const part = await upload(exchange, new Set(algorithm === undefined ? [] : [algorithm]));
      if (!part.passed) return exchange.answer(part.status, {}, part.text);
      await store.putPartChecksums(bucket, into.uploadId, number, part.etag.replaceAll('"', ''), part.checksums);
      exchange.answer(200, { etag: part.etag, ...exchange.checksumHeaders(part.checksums) });
    },

    CompleteMultipartUpload: (exchange) =>
      locks.run(lockOf(exchange.request), async () => {
        const { bucket, key, headers } = exchange.request;
        const xml = await readText(exchange.message);
        const into = await uploadOf(exchange.request);
        await refuseUnmet(exchange.request);
        const parts = await chosenParts(bucket, into.uploadId, xml);
        const algorithm = algorithmOf(into.headers['x-redoubt-checksum-algorithm']);
        const full = (into.headers['x-redoubt-checksum-type'] ?? headers['x-amz-checksum-type']) === 'FULL_OBJECT';
        const checksums = await multipartChecksums(bucket, into.uploadId, parts, algorithm, full);
        for (const [name, value] of Object.entries(checksums)) {
          const declared = headers[`x-amz-checksum-${name}`];
          if (declared !== undefined && declared !== value) {
            throw new S3Error(
              400,
              'BadDigest',
              `The ${name.toUpperCase()} you specified did not match the calculated checksum.`,
            );
          }
        }
        const answer = await behind(exchange, {
          length: Buffer.byteLength(xml),
          body: async (to) => void to.end(xml),
        });
        const text = await textOf(answer);
        if (answer.statusCode !== 200) return exchange.answer(answer.statusCode ?? 500, {}, text);
        const etag = unescapeXml(elements(text, 'ETag')[0] ?? '');
        await store.putChecksums(bucket, key, { etag, type: full ? 'FULL_OBJECT' : 'COMPOSITE', checksums });
        exchange.answer(
          200,
          {},
          xmlDocument(
            'CompleteMultipartUploadResult',
            `<Location>http://${escapeXml(headers.host ?? '')}${escapeXml(exchange.request.path)}</Location><Bucket>${escapeXml(bucket)}</Bucket>` +
              `<Key>${escapeXml(key)}</Key><ETag>${escapeXml(etag)}</ETag>${checksumXml(checksums)}`,
          ),
        );
      }),

    async AbortMultipartUpload(exchange) {
      const { uploadId } = await uploadOf(exchange.request);
      await store.abortUpload(exchange.request.bucket, uploadId);
      exchange.answer(204);
    },

    async ListObjectsV2(exchange) {
      const { bucket, query } = exchange.request;
      const prefix = query.get('prefix') ?? '';
      const token = query.get('continuation-token');
      const limit = Math.min(Number(query.get('max-keys') ?? 1000), 1000);
      const { entries, next } = await store.list(bucket, {
        prefix,
        delimiter: query.get('delimiter') ?? '',
        after: token === null ? (query.get('start-after') ?? '') : Buffer.from(token, 'base64url').toString('utf8'),
        limit,
      });
      const encoded = query.get('encoding-type') === 'url';
      const name = (text: string) => (encoded ? encodeURIComponent(text) : escapeXml(text));
      const listed = entries.map((entry) =>
        entry.kind === 'prefix'
          ? `<CommonPrefixes><Prefix>${name(entry.prefix)}</Prefix></CommonPrefixes>`
          : `<Contents><Key>${name(entry.key)}</Key><LastModified>${entry.modified.toISOString()}</LastModified><ETag>${escapeXml(entry.etag)}</ETag><Size>${entry.size}</Size><StorageClass>STANDARD</StorageClass></Contents>`,
      );
      exchange.answer(
        200,
        {},
        xmlDocument(
          'ListBucketResult',
          `<Name>${escapeXml(bucket)}</Name><Prefix>${name(prefix)}</Prefix><MaxKeys>${limit}</MaxKeys><KeyCount>${entries.length}</KeyCount>` +
            `<IsTruncated>${next !== undefined}</IsTruncated>${encoded ? '<EncodingType>url</EncodingType>' : ''}` +
            (next === undefined
              ? ''
              : `<NextContinuationToken>${Buffer.from(next).toString('base64url')}</NextContinuationToken>`) +
            listed.join(''),
        ),
      );
    },

    async HeadBucket(exchange) {
      exchange.answer(200, { 'x-amz-bucket-region': region });
    },

    async ListObjects() {
      throw new S3Error(501, 'NotImplemented', 'The local S3 lists objects by ListObjectsV2.');
    },

    async ListMultipartUploads(exchange) {
      const { bucket, query } = exchange.request;
      if (query.has('delimiter'))
        throw new S3Error(501, 'NotImplemented', 'The local S3 lists uploads without a delimiter.');
      const limit = Math.min(Number(query.get('max-uploads') ?? 1000), 1000);
      const all = await store.uploads(bucket, query.get('prefix') ?? '');
      const keyMarker = query.get('key-marker') ?? '';
      const after = all.findIndex(
        ({ key, uploadId }) => key === keyMarker && uploadId === query.get('upload-id-marker'),
      );
      const rest = after === -1 ? all.filter(({ key }) => key > keyMarker) : all.slice(after + 1);
      const listed = rest.slice(0, limit);
      const last = listed.at(-1);
      const more = rest.length > listed.length && last !== undefined;
      const uploads = listed.map(
        ({ key, uploadId, initiated }) =>
          `<Upload><Key>${escapeXml(key)}</Key><UploadId>${uploadId}</UploadId><StorageClass>STANDARD</StorageClass><Initiated>${initiated.toISOString()}</Initiated></Upload>`,
      );
      exchange.answer(
        200,
        {},
        xmlDocument(
          'ListMultipartUploadsResult',
          `<Bucket>${escapeXml(bucket)}</Bucket><Prefix>${escapeXml(query.get('prefix') ?? '')}</Prefix><MaxUploads>${limit}</MaxUploads><IsTruncated>${more}</IsTruncated>` +
            (more
              ? `<NextKeyMarker>${escapeXml(last.key)}</NextKeyMarker><NextUploadIdMarker>${last.uploadId}</NextUploadIdMarker>`
              : '') +
            uploads.join(''),
        ),
      );
    },

    async ListParts(exchange) {
      const { bucket, key, query } = exchange.request;
      const { uploadId } = await uploadOf(exchange.request);
      const limit = Math.min(Number(query.get('max-parts') ?? 1000), 1000);
      const rest = (await store.parts(bucket, uploadId)).filter(
        ({ number }) => number > Number(query.get('part-number-marker') ?? 0),
      );
      const listed = rest.slice(0, limit);
      const more = rest.length > listed.length;
      const parts = listed.map(
        ({ number, etag, size, modified, checksums }) =>
          `<Part><PartNumber>${number}</PartNumber><LastModified>${modified.toISOString()}</LastModified><ETag>&#34;${etag}&#34;</ETag><Size>${size}</Size>${checksumXml(checksums)}</Part>`,
      );
      exchange.answer(
        200,
        {},
        xmlDocument(
          'ListPartsResult',
          `<Bucket>${escapeXml(bucket)}</Bucket><Key>${escapeXml(key)}</Key><UploadId>${uploadId}</UploadId><MaxParts>${limit}</MaxParts><IsTruncated>${more}</IsTruncated>` +
            (more ? `<NextPartNumberMarker>${listed.at(-1)?.number}</NextPartNumberMarker>` : '') +
            parts.join(''),
        ),
      );
    },

    GetObject: (exchange) => read(exchange),
    HeadObject: (exchange) => read(exchange),
  };

  const read = async (exchange: Exchange): Promise<void> => {
    const { bucket, key, headers } = exchange.request;
    const suffix = /^bytes=-(\d+)$/.exec(headers.range ?? '')?.[1];
    const needsHead =
      suffix !== undefined || headers['if-match'] !== undefined || exchange.request.operation === 'HeadObject';
    const existing = needsHead ? await store.head(bucket, key) : undefined;
    if (
      existing !== undefined &&
      headers['if-match'] !== undefined &&
      headers['if-match'].replaceAll('"', '') !== existing.etag.replaceAll('"', '')
    ) {
      throw new S3Error(412, 'PreconditionFailed', 'At least one of the pre-conditions you specified did not hold');
    }
    if (needsHead && existing === undefined) throw new S3Error(404, 'NoSuchKey', 'The specified key does not exist.');
    const last =
      existing === undefined || suffix === undefined
        ? {}
        : { range: `bytes=${Math.max(0, existing.size - Number(suffix))}-` };
    const conditional = headers['if-none-match'] === undefined ? {} : { 'if-none-match': headers['if-none-match'] };
    const answer = await behind(exchange, { more: { ...last, ...conditional } });
    const wanted = headers['x-amz-checksum-mode']?.toUpperCase() === 'ENABLED' && answer.statusCode === 200;
    const stored = wanted ? await store.checksums(bucket, key, answer.headers.etag ?? '') : undefined;
    await relay(
      exchange,
      answer,
      stored === undefined || Object.keys(stored.checksums).length === 0
        ? {}
        : { ...exchange.checksumHeaders(stored.checksums), 'x-amz-checksum-type': stored.type },
    );
  };

  /** The parts that a completion names, in its order. @throws S3Error as S3 refuses a wrong list */
  const chosenParts = async (bucket: string, uploadId: string, xml: string): Promise<readonly StoredPart[]> => {
    const stored = new Map((await store.parts(bucket, uploadId)).map((part) => [part.number, part]));
    const named = elements(xml, 'Part').map((part) => ({
      number: Number(elements(part, 'PartNumber')[0]),
      etag: unescapeXml(elements(part, 'ETag')[0] ?? '').replaceAll('"', ''),
      checksums: checksumNames.map((name) => [name, elements(part, checksumElement(name))[0]] as const),
    }));
    if (named.length === 0)
      throw new S3Error(
        400,
        'MalformedXML',
        'The XML you provided was not well-formed or did not validate against our published schema',
      );
    return named.map(({ number, etag, checksums }, index) => {
      const part = stored.get(number);
      const wrong = checksums.some(
        ([name, value]) => value !== undefined && part?.checksums[name] !== unescapeXml(value),
      );
      if (part === undefined || part.etag !== etag || wrong) {
        throw new S3Error(
          400,
          'InvalidPart',
          "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
        );
      }
      if (index > 0 && number <= (named[index - 1]?.number ?? 0)) {
        throw new S3Error(
          400,
          'InvalidPartOrder',
          'The list of parts was not in ascending order. Parts must be ordered by part number.',
        );
      }
      if (index < named.length - 1 && part.size < minimumPartBytes) {
        throw new S3Error(400, 'EntityTooSmall', 'Your proposed upload is smaller than the minimum allowed size');
      }
      return part;
    });
  };

  const multipartChecksums = async (
    bucket: string,
    uploadId: string,
    parts: readonly StoredPart[],
    algorithm: ChecksumName | undefined,
    full: boolean,
  ): Promise<Checksums> => {
    if (algorithm === undefined) return {};
    if (!full) {
      const each = parts.map((part) => part.checksums[algorithm]);
      return each.every((value) => value !== undefined) ? { [algorithm]: compositeChecksum(algorithm, each) } : {};
    }
    const hasher = createHasher(algorithm);
    for (const path of store.partPaths(
      bucket,
      uploadId,
      parts.map(({ number }) => number),
    )) {
      for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hasher.update(chunk as Buffer);
    }
    return { [algorithm]: hasher.digest() };
  };

  const contextOf = ({ operation, query, headers }: S3Request): Record<string, string | undefined> => ({
    's3:prefix':
      operation.startsWith('ListObjects') || operation === 'ListMultipartUploads'
        ? (query.get('prefix') ?? '')
        : undefined,
    's3:if-none-match': headers['if-none-match'],
    's3:if-match': headers['if-match'],
    's3:ObjectCreationOperation': ['PutObject', 'CompleteMultipartUpload', 'CopyObject'].includes(operation)
      ? 'true'
      : operation === 'UploadPart' || operation === 'CreateMultipartUpload'
        ? 'false'
        : undefined,
  });

  const serve = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    const request = readRequest(message);
    const { bucket, key, caller, operation } = request;
    const current = new Exchange(request, message, response, faults.faultsFor({ operation, key, caller }));
    refuseExpired(request, now());
    const resource = key === '' ? `arn:aws:s3:::${bucket}` : `arn:aws:s3:::${bucket}/${key}`;
    // DeleteObjects is decided key by key.
    if (
      operation !== 'DeleteObjects' &&
      !allows({ caller, action: actionOf(operation), resource, context: contextOf(request) })
    ) {
      throw new S3Error(
        403,
        'AccessDenied',
        `User: ${caller} is not authorized to perform: ${actionOf(operation)} on resource: "${resource}"`,
      );
    }
    if (!['CreateBucket', 'ListBuckets'].includes(operation) && !(await store.hasBucket(bucket))) {
      throw new S3Error(404, 'NoSuchBucket', 'The specified bucket does not exist');
    }
    for (const fault of current.faults) {
      if (fault.kind === 'delay') await sleep(fault.milliseconds);
      if (fault.kind === 'slow-down') throw new S3Error(503, 'SlowDown', 'Please reduce your request rate.');
      if (fault.kind === 'error') throw new S3Error(fault.status, fault.code, 'A fault of the test.');
      if (fault.kind === 'reset' && fault.afterBytes === undefined) return current.cut();
    }
    await (
      operations[operation] ??
      (async (exchange: Exchange) =>
        relay(
          exchange,
          await behind(exchange, {
            ...(message.headers['content-length'] === undefined
              ? {}
              : { length: Number(message.headers['content-length']), body: (to: Writable) => pipeline(message, to) }),
          }),
        ))
    )(current);
  };

  const administer = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (message.method === 'PUT') faults.set(JSON.parse(await readText(message)));
    if (message.method === 'DELETE') faults.set([]);
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(faults.rules));
  };

  const server = createServer((message, response) => {
    const served = message.url === '/_redoubt/faults' ? administer(message, response) : serve(message, response);
    served.catch((error) => {
      if (response.headersSent || response.destroyed || !message.socket || message.socket.destroyed)
        return void response.destroy();
      const { status, body } = errorBody(error);
      const answer = () => {
        response.writeHead(status, {
          'content-type': 'application/xml',
          'content-length': String(Buffer.byteLength(body)),
        });
        response.end(message.method === 'HEAD' ? undefined : body);
      };
      // What is left of the body is read and dropped first: whoever is still sending it might not come to see the answer.
      message.unpipe();
      message.resume();
      if (message.readableEnded || message.destroyed) answer();
      else message.once('end', answer);
    });
  });
  // Large objects over throttled connections take as long as they take.
  server.requestTimeout = 0;
  // A connection is the client's to close: closing an idle one under it would look like a fault.
  server.keepAliveTimeout = 0;
  server.on('close', () => agent.destroy());
  return server;
};
