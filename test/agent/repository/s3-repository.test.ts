import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { CreateBucketCommand, ListMultipartUploadsCommand, type S3Client } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createS3Client, S3Repository } from '#agent/repository/s3-repository.ts';
import { RedoubtError } from '#core/errors.ts';
import { type S3, startS3 } from '#local/cloud/s3/start-s3.ts';

const BUCKET = 'redoubt-repository';

const useEndpoint = (origin: string): void => {
  vi.stubEnv('AWS_ENDPOINT_URL', origin);
  vi.stubEnv('AWS_REGION', 'us-east-1');
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIATEST');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'secret');
};

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'succeeded',
    (error: unknown) => (error instanceof RedoubtError ? error.code : String(error)),
  );

const contentOf = async (source: AsyncIterable<Buffer>): Promise<Buffer> => {
  const pieces: Buffer[] = [];
  for await (const piece of source) pieces.push(piece);
  return Buffer.concat(pieces);
};

describe('the repository on an S3 that verifies checksums and conditions', () => {
  let directory: string;
  let s3: S3;
  let client: S3Client;
  let repository: S3Repository;
  let controller: AbortController;
  let turn = 0;
  let key: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'redoubt-s3-'));
    s3 = await startS3({ stateDirectory: directory, buckets: [BUCKET] });
    useEndpoint(s3.origin);
    client = createS3Client();
    await client.send(new CreateBucketCommand({ Bucket: BUCKET })).catch(() => undefined);
  });
  afterAll(async () => {
    client.destroy();
    await s3.close();
    vi.unstubAllEnvs();
    rmSync(directory, { recursive: true });
  });
  beforeEach(() => {
    controller = new AbortController();
    repository = new S3Repository(client, BUCKET, controller.signal);
    key = `clusters/orders/${turn++}`;
  });

  const uploads = async (): Promise<number> =>
    (await client.send(new ListMultipartUploadsCommand({ Bucket: BUCKET }))).Uploads?.length ?? 0;

  it('stores an object in parts and finds it whole', async () => {
    const body = randomBytes(11 * 1024 * 1024);
    const upload = await repository.startUpload(key);
    const parts = [
      body.subarray(0, 5 * 1024 * 1024),
      body.subarray(5 * 1024 * 1024, 10 * 1024 * 1024),
      body.subarray(10 * 1024 * 1024),
    ];
    await Promise.all(parts.map((part, index) => upload.part(index + 1, part, crc32(part))).reverse());
    await upload.complete(crc32(body));
    expect(await repository.head(key)).toMatchObject({ bytes: body.length, crc32: crc32(body) });
    expect((await contentOf(await repository.get(key))).equals(body)).toBe(true);
    const range = { from: 3, to: 6_000_000 };
    expect((await contentOf(await repository.get(key, { range }))).equals(body.subarray(3, 6_000_001))).toBe(true);
  });

  it('takes no part that is not what was summed', async () => {
    const upload = await repository.startUpload(key);
    expect(await codeOf(upload.part(1, Buffer.from('body'), crc32('other')))).toBe('UploadFailed');
    await upload.abort();
  });

  it('completes nothing whose sum differs', async () => {
    const upload = await repository.startUpload(key);
    await upload.part(1, Buffer.from('body'), crc32('body'));
    expect(await codeOf(upload.complete(crc32('other')))).toBe('UploadFailed');
    await upload.abort();
    expect(await codeOf(repository.head(key))).toBe('ObjectMissing');
  });

  it('leaves no upload behind that was aborted, even when the run is over', async () => {
    const before = await uploads();
    const upload = await repository.startUpload(key);
    await upload.part(1, Buffer.from('body'), crc32('body'));
    expect(await uploads()).toBe(before + 1);
    controller.abort(new RedoubtError('RunCancelled', 'over'));
    await upload.abort();
    expect(await uploads()).toBe(before);
  });

  it('never writes over an object, neither in one nor in parts', async () => {
    const stored = await repository.create(key, Buffer.from('first'));
    expect(stored).toMatchObject({ key, bytes: 5, sha256: createHash('sha256').update('first').digest('hex') });
    expect(await codeOf(repository.create(key, Buffer.from('second')))).toBe('UploadFailed');
    const upload = await repository.startUpload(key);
    await upload.part(1, Buffer.from('third'), crc32('third'));
    expect(await codeOf(upload.complete(crc32('third')))).toBe('UploadFailed');
    await upload.abort();
    expect((await repository.read(key, 100)).toString()).toBe('first');
  });

  it('takes its own object for its own: the retry of a write whose answer was lost', async () => {
    const first = await repository.create(key, Buffer.from('manifest'));
    expect(await repository.create(key, Buffer.from('manifest'))).toEqual(first);
  });

  it('overwrites progress', async () => {
    await repository.overwrite(key, Buffer.from('1'));
    await repository.overwrite(key, Buffer.from('2'));
    expect((await repository.read(key, 10)).toString()).toBe('2');
  });

  it('names what is missing, and does not read more than was asked for', async () => {
    expect(await codeOf(repository.get(key))).toBe('ObjectMissing');
    expect(await codeOf(repository.read(key, 10))).toBe('ObjectMissing');
    await repository.create(key, Buffer.alloc(11));
    expect(await codeOf(repository.read(key, 10))).toBe('ObjectTampered');
  });

  it('ends with the run', async () => {
    controller.abort(new RedoubtError('RunCancelled', 'over'));
    for (const work of [repository.head(key), repository.startUpload(key), repository.create(key, Buffer.from('x'))])
      expect(await codeOf(work)).toBe('RunCancelled');
  });

  it('does not hash a body for the signature that it has summed already', async () => {
    const seen: (string | undefined)[] = [];
    const { port, close } = await spy((request) => {
      seen.push(request.headers['x-amz-content-sha256'] as string | undefined);
    });
    useEndpoint(`http://127.0.0.1:${port}`);
    const other = createS3Client();
    await new S3Repository(other, BUCKET, controller.signal).overwrite(key, Buffer.from('x'));
    other.destroy();
    close();
    useEndpoint(s3.origin);
    expect(seen).toEqual(['UNSIGNED-PAYLOAD']);
  });
});

/** A server that answers everything with 200 and an empty body, after `look`. */
const spy = async (look: (request: IncomingMessage) => void) => {
  const server = createServer((request, response) => {
    look(request);
    request.resume().on('end', () => response.end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
};

describe('a repository in trouble', () => {
  let server: Server;
  let client: S3Client;
  let respond: Parameters<typeof createServer>[1] & object;

  beforeEach(async () => {
    server = createServer((request, response) => respond(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    useEndpoint(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    client = createS3Client();
  });
  afterEach(() => {
    client.destroy();
    server.closeAllConnections();
    server.close();
    vi.unstubAllEnvs();
  });

  const repository = () => new S3Repository(client, BUCKET, new AbortController().signal);

  it('that breaks off in the middle is asked for the rest, of the very same object', async () => {
    const body = randomBytes(300_000);
    const asked: (string | undefined)[] = [];
    respond = (request, response) => {
      asked.push(request.headers.range);
      const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      if (from > 0) expect(request.headers['if-match']).toBe('"one"');
      const rest = body.subarray(from);
      response.writeHead(from > 0 ? 206 : 200, { 'content-length': rest.length, etag: '"one"' });
      if (asked.length > 2) response.end(rest);
      else response.write(rest.subarray(0, 100_000), () => response.destroy());
    };
    expect((await contentOf(await repository().get('key'))).equals(body)).toBe(true);
    expect(asked.length).toBe(3);
  });

  it('that was replaced in the middle is not read on', async () => {
    let requests = 0;
    respond = (_request, response) => {
      if (requests++ > 0) {
        response.writeHead(412, { 'content-type': 'application/xml' });
        response.end('<Error><Code>PreconditionFailed</Code></Error>');
        return;
      }
      response.writeHead(200, { 'content-length': 10, etag: '"one"' });
      response.write('12345', () => response.destroy());
    };
    expect(await codeOf(repository().get('key').then(contentOf))).toBe('RepositoryUnavailable');
  });

  it('that denies access is not asked twice', async () => {
    let requests = 0;
    respond = (request, response) => {
      requests++;
      request.resume();
      response.writeHead(403, { 'content-type': 'application/xml' });
      response.end('<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>');
    };
    expect(await codeOf(repository().create('key', Buffer.from('x')))).toBe('RepositoryRefused');
    expect(await codeOf(repository().head('key'))).toBe('RepositoryRefused');
    expect(requests).toBe(2);
  });

  describe('that cannot decide a conditional write yet', () => {
    const conflict = (response: ServerResponse): void => {
      response.writeHead(409, { 'content-type': 'application/xml' });
      response.end('<Error><Code>ConditionalRequestConflict</Code><Message>in progress</Message></Error>');
    };
    const created = (response: ServerResponse): void => {
      response.writeHead(200, { 'content-type': 'application/xml', 'x-amz-version-id': 'v1' });
      response.end('<Result><UploadId>upload</UploadId></Result>');
    };
    /** Answers `conflicts` conditional writes with 409, then with `after`. */
    const undecided = (conflicts: number, after: (response: ServerResponse) => void) => {
      let asked = 0;
      respond = (request, response) => {
        request.resume().on('end', () => {
          if (request.headers['if-none-match'] !== '*') return created(response);
          return asked++ < conflicts ? conflict(response) : after(response);
        });
      };
      return { asked: () => asked };
    };
    const complete = async () => {
      const upload = await repository().startUpload('key');
      await upload.part(1, Buffer.from('x'), crc32('x'));
      return upload.complete(crc32('x'));
    };

    it('is asked again, in one and in parts', async () => {
      let { asked } = undecided(2, created);
      expect(await repository().create('key', Buffer.from('x'))).toMatchObject({ version: 'v1' });
      expect(asked()).toBe(3);
      ({ asked } = undecided(2, created));
      expect(await complete()).toEqual({ version: 'v1' });
      expect(asked()).toBe(3);
    });

    it('did not take the data when it never does', async () => {
      undecided(Number.POSITIVE_INFINITY, created);
      expect(await codeOf(repository().create('key', Buffer.from('x')))).toBe('UploadFailed');
    }, 20_000);

    it('has the object when the write in progress was our own', async () => {
      respond = (request, response) => {
        request.resume().on('end', () => {
          if (request.method === 'PUT') return conflict(response);
          response.writeHead(200, { 'content-length': 1, etag: '"one"', 'x-amz-version-id': 'v2' });
          response.end(request.method === 'HEAD' ? undefined : 'x');
        });
      };
      expect(await repository().create('key', Buffer.from('x'))).toMatchObject({ version: 'v2' });
    }, 20_000);
  });
});
