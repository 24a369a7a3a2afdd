import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Principals } from '#local/cloud/principals.ts';
import { startRouter } from '#local/cloud/router.ts';
import { createHasher } from '#local/cloud/s3/checksums.ts';
import type { S3Access } from '#local/cloud/s3/front.ts';
import { type S3, startS3 } from '#local/cloud/s3/start-s3.ts';

const Bucket = 'repository';
const MiB = 1024 * 1024;
const directory = mkdtempSync(join(tmpdir(), 's3-'));
let allows: (access: S3Access) => boolean = () => true;
let s3: S3;
let client: S3Client;

beforeAll(async () => {
  s3 = await startS3({ stateDirectory: directory, buckets: [Bucket], allows: (access) => allows(access) });
  client = clientWith(1);
});

afterEach(() => {
  s3.faults.set([]);
  allows = () => true;
});

afterAll(async () => {
  client.destroy();
  await s3.close();
  rmSync(directory, { recursive: true });
});

const clientWith = (maxAttempts: number) =>
  new S3Client({
    region: 'us-east-1',
    endpoint: s3.origin,
    credentials: { accessKeyId: 'A', secretAccessKey: 'S' },
    maxAttempts,
  });

let keys = 0;
const freshKey = () => `tests/${String(keys++).padStart(3, '0')}`;
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('base64');
const put = (Key: string, Body: string | Buffer, more: object = {}) =>
  client.send(new PutObjectCommand({ Bucket, Key, Body, ...more }));
const bodyOf = async (Key: string, more: object = {}) => {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key, ...more }));
  return Buffer.from((await Body?.transformToByteArray()) ?? []);
};
const exists = (Key: string) =>
  client.send(new HeadObjectCommand({ Bucket, Key })).then(
    () => true,
    (error) => (error.name === 'NotFound' ? false : Promise.reject(error)),
  );
const begin = async (Key: string, more: object = {}) =>
  (await client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...more }))).UploadId;
const part = async (
  Key: string,
  UploadId: string | undefined,
  PartNumber: number,
  Body: Buffer,
  more: object = {},
) => ({
  PartNumber,
  ...(await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body, ...more }))),
});
const complete = (Key: string, UploadId: string | undefined, Parts: CompletedPart[], more: object = {}) =>
  client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts }, ...more }));
const staged = () => readdirSync(directory, { recursive: true }).filter((file) => String(file).includes('.new-'));

describe('multipart uploads', () => {
  test('a 64 MiB segment goes up in parts of 16 MiB with checksums and comes down in parallel ranges', async () => {
    const Key = freshKey();
    const bytes = randomBytes(64 * MiB);
    const UploadId = await begin(Key, { ChecksumAlgorithm: 'SHA256' });
    const parts = await Promise.all(
      [0, 1, 2, 3].map((index) => {
        const slice = bytes.subarray(index * 16 * MiB, (index + 1) * 16 * MiB);
        return part(Key, UploadId, index + 1, slice, { ChecksumSHA256: sha256(slice) });
      }),
    );
    const done = await complete(Key, UploadId, parts);
    const digests = parts.map(({ ChecksumSHA256 }) => Buffer.from(ChecksumSHA256 ?? '', 'base64'));
    expect(done.ChecksumSHA256).toBe(`${sha256(Buffer.concat(digests))}-4`);
    expect(done.ETag).toMatch(/^"[0-9a-f]{32}-4"$/);

    const ranges = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        bodyOf(Key, { Range: `bytes=${index * 8 * MiB}-${(index + 1) * 8 * MiB - 1}` }),
      ),
    );
    expect(Buffer.concat(ranges).equals(bytes)).toBe(true);
    const head = await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }));
    expect(head).toMatchObject({
      ContentLength: 64 * MiB,
      ETag: done.ETag,
      ChecksumSHA256: done.ChecksumSHA256,
      ChecksumType: 'COMPOSITE',
    });
  });

  test('the SDK alone (its default checksums) makes an upload that the SDK reads back', async () => {
    const Key = freshKey();
    const bytes = randomBytes(5 * MiB + 1);
    const UploadId = await begin(Key);
    const parts = [
      await part(Key, UploadId, 1, bytes.subarray(0, 5 * MiB)),
      await part(Key, UploadId, 2, bytes.subarray(5 * MiB)),
    ];
    await complete(Key, UploadId, parts);
    expect((await bodyOf(Key)).equals(bytes)).toBe(true);
  });

  test('a full-object CRC64NVME is the checksum of the whole, and a wrong one is refused', async () => {
    const Key = freshKey();
    const bytes = randomBytes(6 * MiB);
    const hasher = createHasher('crc64nvme');
    hasher.update(bytes);
    const whole = hasher.digest();
    const UploadId = await begin(Key, { ChecksumAlgorithm: 'CRC64NVME', ChecksumType: 'FULL_OBJECT' });
    const parts = [
      await part(Key, UploadId, 1, bytes.subarray(0, 5 * MiB), { ChecksumAlgorithm: 'CRC64NVME' }),
      await part(Key, UploadId, 2, bytes.subarray(5 * MiB), { ChecksumAlgorithm: 'CRC64NVME' }),
    ];
    await expect(complete(Key, UploadId, parts, { ChecksumCRC64NVME: 'AAAAAAAAAAA=' })).rejects.toMatchObject({
      name: 'BadDigest',
    });
    expect((await complete(Key, UploadId, parts, { ChecksumCRC64NVME: whole })).ChecksumCRC64NVME).toBe(whole);
  });

  test('an upload shows in the listing with its parts until it is aborted, and then takes no part any more', async () => {
    const Key = `aborts/${freshKey()}`;
    const UploadId = await begin(Key);
    await part(Key, UploadId, 2, Buffer.from('two'));
    await part(Key, UploadId, 1, Buffer.from('one!'));
    const list = () => client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: 'aborts/' }));
    expect((await list()).Uploads).toMatchObject([{ Key, UploadId, Initiated: expect.any(Date) }]);
    const listed = await client.send(new ListPartsCommand({ Bucket, Key, UploadId }));
    expect(listed.Parts?.map(({ PartNumber, Size }) => [PartNumber, Size])).toEqual([
      [1, 4],
      [2, 3],
    ]);
    await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }));
    expect((await list()).Uploads).toBeUndefined();
    const refused = { name: 'NoSuchUpload' };
    await expect(part(Key, UploadId, 3, Buffer.from('late'))).rejects.toMatchObject(refused);
    await expect(client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }))).rejects.toMatchObject(
      refused,
    );
    expect(await exists(Key)).toBe(false);
  });

  test('long listings of uploads come page by page, each upload once', async () => {
    const began: (string | undefined)[] = [];
    for (const name of ['b', 'a', 'a', 'c']) began.push(await begin(`pages/${name}`));
    const seen: (string | undefined)[] = [];
    let markers: object = {};
    for (let more: boolean | undefined = true; more; ) {
      const page = await client.send(
        new ListMultipartUploadsCommand({ Bucket, Prefix: 'pages/', MaxUploads: 2, ...markers }),
      );
      seen.push(...(page.Uploads ?? []).map(({ UploadId }) => UploadId));
      markers = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
      more = page.IsTruncated;
    }
    expect(seen.toSorted()).toEqual(began.toSorted());
  });

  test.each([
    [
      'InvalidPart',
      'names a part that never came',
      (parts: CompletedPart[]) => [...parts, { PartNumber: 9, ETag: '"x"' }],
    ],
    ['InvalidPart', 'names another ETag', (parts: CompletedPart[]) => [{ ...parts[0], ETag: '"0"' }]],
    ['InvalidPartOrder', 'is not in ascending order', (parts: CompletedPart[]) => parts.toReversed()],
    ['EntityTooSmall', 'has a small part that is not the last', (parts: CompletedPart[]) => parts],
  ])('%s: a completion %s', async (name, _, change) => {
    const Key = freshKey();
    const UploadId = await begin(Key);
    const first = name === 'EntityTooSmall' ? 100 : 5 * MiB;
    const parts = [
      await part(Key, UploadId, 1, Buffer.alloc(first)),
      await part(Key, UploadId, 2, Buffer.alloc(5 * MiB)),
    ];
    await expect(complete(Key, UploadId, change(parts))).rejects.toMatchObject({ name });
    expect(await exists(Key)).toBe(false);
  });
});

describe('conditional writes', () => {
  test('If-None-Match lets the first PutObject through and refuses the next, which changes nothing', async () => {
    const Key = freshKey();
    await put(Key, 'first', { IfNoneMatch: '*' });
    await expect(put(Key, 'second', { IfNoneMatch: '*' })).rejects.toMatchObject({
      name: 'PreconditionFailed',
      $metadata: { httpStatusCode: 412 },
    });
    expect((await bodyOf(Key)).toString()).toBe('first');
  });

  test('of twenty that write at once exactly one gets through, and its bytes are there', async () => {
    const Key = freshKey();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) => put(Key, `writer ${index}`, { IfNoneMatch: '*' })),
    );
    const winners = outcomes.flatMap(({ status }, index) => (status === 'fulfilled' ? [index] : []));
    expect(winners).toHaveLength(1);
    expect((await bodyOf(Key)).toString()).toBe(`writer ${winners[0]}`);
  });

  test('If-None-Match holds for CompleteMultipartUpload too, and the refused upload is still there', async () => {
    const Key = freshKey();
    const UploadId = await begin(Key);
    const parts = [await part(Key, UploadId, 1, Buffer.from('multipart'))];
    await put(Key, 'single');
    await expect(complete(Key, UploadId, parts, { IfNoneMatch: '*' })).rejects.toMatchObject({
      name: 'PreconditionFailed',
    });
    expect((await bodyOf(Key)).toString()).toBe('single');
    await client.send(new DeleteObjectCommand({ Bucket, Key }));
    await complete(Key, UploadId, parts, { IfNoneMatch: '*' });
    expect((await bodyOf(Key)).toString()).toBe('multipart');
  });

  test('If-Match replaces what the writer has seen and nothing newer', async () => {
    const Key = freshKey();
    const { ETag } = await put(Key, 'seen');
    await put(Key, 'newer', { IfMatch: ETag });
    await expect(put(Key, 'newest', { IfMatch: ETag })).rejects.toMatchObject({ name: 'PreconditionFailed' });
    await expect(put(freshKey(), 'x', { IfMatch: ETag })).rejects.toMatchObject({ name: 'NoSuchKey' });
  });
});

describe('checksums', () => {
  test.each([
    ['ChecksumSHA256', sha256(Buffer.from('other'))],
    ['ChecksumCRC32', 'AAAAAA=='],
    ['ChecksumCRC64NVME', 'AAAAAAAAAAA='],
    ['ContentMD5', createHash('md5').update('other').digest('base64')],
  ])('a wrong %s is BadDigest, and neither an object nor a temporary file stays', async (name, value) => {
    const Key = freshKey();
    await expect(put(Key, 'body', { [name]: value })).rejects.toMatchObject({ name: 'BadDigest' });
    expect(await exists(Key)).toBe(false);
    await expect.poll(staged).toEqual([]);
  });

  test('a part with a wrong checksum is no part', async () => {
    const Key = freshKey();
    const UploadId = await begin(Key);
    await expect(
      part(Key, UploadId, 1, Buffer.from('part'), { ChecksumSHA256: sha256(Buffer.from('other')) }),
    ).rejects.toMatchObject({ name: 'BadDigest' });
    expect((await client.send(new ListPartsCommand({ Bucket, Key, UploadId }))).Parts).toBeUndefined();
  });

  test('a stream that the SDK sends with its checksum in the trailer arrives whole and is verified', async () => {
    const Key = freshKey();
    const bytes = randomBytes(3 * MiB + 7);
    const halves = [bytes.subarray(0, MiB), bytes.subarray(MiB)];
    const sent = await client.send(
      new PutObjectCommand({
        Bucket,
        Key,
        Body: Readable.from(halves, { objectMode: false }),
        ContentLength: bytes.length,
        ChecksumAlgorithm: 'CRC64NVME',
      }),
    );
    expect((await bodyOf(Key)).equals(bytes)).toBe(true);
    const hasher = createHasher('crc64nvme');
    hasher.update(bytes);
    expect(sent.ChecksumCRC64NVME).toBe(hasher.digest());
  });

  test('a trailer that does not fit its body is BadDigest', async () => {
    const Key = freshKey();
    const response = await fetch(`${s3.origin}/${Bucket}/${Key}`, {
      method: 'PUT',
      headers: {
        'content-encoding': 'aws-chunked',
        'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
        'x-amz-decoded-content-length': '4',
        'x-amz-trailer': 'x-amz-checksum-crc32',
      },
      body: '4\r\nbody\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n',
    });
    expect([response.status, await response.text()]).toEqual([400, expect.stringContaining('<Code>BadDigest</Code>')]);
    expect(await exists(Key)).toBe(false);
  });

  test('the checksum that came with an object is told to who asks, and goes with its copy', async () => {
    const Key = freshKey();
    await put(Key, 'body', { ChecksumSHA256: sha256(Buffer.from('body')) });
    await client.send(new CopyObjectCommand({ Bucket, Key: `${Key}-copy`, CopySource: `${Bucket}/${Key}` }));
    for (const asked of [Key, `${Key}-copy`]) {
      const got = await client.send(new GetObjectCommand({ Bucket, Key: asked, ChecksumMode: 'ENABLED' }));
      expect([await got.Body?.transformToString(), got.ChecksumSHA256]).toEqual(['body', sha256(Buffer.from('body'))]);
    }
    await put(Key, 'changed', { ChecksumAlgorithm: 'CRC32' });
    const head = await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }));
    expect([head.ChecksumSHA256, head.ChecksumCRC32]).toEqual([undefined, expect.any(String)]);
  });

  test('CRC-64/NVME has its published check value', () => {
    const hasher = createHasher('crc64nvme');
    hasher.update(Buffer.from('123456789'));
    expect(Buffer.from(hasher.digest(), 'base64').toString('hex')).toBe('ae8b14860a799888');
  });
});

describe('objects', () => {
  test('an upload that is cut leaves the object that was there, whole', async () => {
    const Key = freshKey();
    await put(Key, 'old');
    s3.faults.set([{ operations: ['PutObject'], fault: { kind: 'reset', afterBytes: MiB } }]);
    await expect(put(Key, randomBytes(4 * MiB))).rejects.toThrow();
    s3.faults.set([]);
    expect((await bodyOf(Key)).toString()).toBe('old');
    await expect.poll(staged).toEqual([]);
  });

  test('what a killed server left unfinished is gone after the next start, and objects are not', async () => {
    const state = mkdtempSync(join(tmpdir(), 's3-'));
    const options = { stateDirectory: state, buckets: [Bucket] };
    const before = await startS3(options);
    await fetch(`${before.origin}/${Bucket}/a/.new-named`, { method: 'PUT', body: 'x' });
    await before.close();
    writeFileSync(join(state, Bucket, 'a/.new-unfinished'), 'half');
    const after = await startS3(options);
    const read = await fetch(`${after.origin}/${Bucket}/a/.new-named`);
    expect([await read.text(), readdirSync(join(state, Bucket, 'a')).includes('.new-unfinished')]).toEqual([
      'x',
      false,
    ]);
    await after.close();
    rmSync(state, { recursive: true });
  });

  test('metadata comes back; a range from the end too; a range beyond it is refused', async () => {
    const Key = freshKey();
    await put(Key, '0123456789', { Metadata: { purpose: 'test' }, ContentType: 'text/plain' });
    const head = await client.send(new HeadObjectCommand({ Bucket, Key }));
    expect(head).toMatchObject({ Metadata: { purpose: 'test' }, ContentType: 'text/plain', ContentLength: 10 });
    expect((await bodyOf(Key, { Range: 'bytes=-3' })).toString()).toBe('789');
    await expect(bodyOf(Key, { Range: 'bytes=20-30' })).rejects.toMatchObject({ name: 'InvalidRange' });
  });

  test('keys with awkward characters are the same key everywhere', async () => {
    const Key = `awkward/a b+c&d=é%25'(1)/x`;
    await put(Key, 'found');
    expect((await bodyOf(Key)).toString()).toBe('found');
    const listed = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'awkward/' }));
    expect(listed.Contents?.map((object) => object.Key)).toEqual([Key]);
  });

  test('listings are in byte order, page by page, with common prefixes once', async () => {
    const names = ['list/a', 'list/a-b', 'list/a/1', 'list/a/2', 'list/b', 'list/c/1'];
    for (const name of names.toReversed()) await put(name, name);
    const all = async (more: object) => {
      const found: string[] = [];
      const prefixes: string[] = [];
      for (let token: string | undefined, last = false; !last; ) {
        const page = await client.send(
          new ListObjectsV2Command({ Bucket, Prefix: 'list/', MaxKeys: 2, ContinuationToken: token, ...more }),
        );
        found.push(...(page.Contents ?? []).map(({ Key = '' }) => Key));
        prefixes.push(...(page.CommonPrefixes ?? []).map(({ Prefix = '' }) => Prefix));
        token = page.NextContinuationToken;
        last = token === undefined;
      }
      return [found, prefixes];
    };
    expect(await all({})).toEqual([names, []]);
    expect(await all({ Delimiter: '/' })).toEqual([
      ['list/a', 'list/a-b', 'list/b'],
      ['list/a/', 'list/c/'],
    ]);
  });

  test('many objects are deleted in one request, also while others are written beside them', async () => {
    const Keys = Array.from({ length: 10 }, (_, index) => `many/${index}`);
    for (const Key of Keys) await put(Key, 'x');
    const [deleted] = await Promise.all([
      client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: Keys.map((Key) => ({ Key })) } })),
      ...Keys.map((Key) => put(`${Key}-new`, 'x')),
    ]);
    expect(deleted.Deleted).toHaveLength(10);
    const listed = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'many/' }));
    expect(listed.Contents?.map(({ Key }) => Key)).toEqual(Keys.map((Key) => `${Key}-new`));
  });

  test('a bucket that is not there is NoSuchBucket, for listings too', async () => {
    const missing = { Bucket: 'missing' };
    await expect(client.send(new ListObjectsV2Command(missing))).rejects.toMatchObject({ name: 'NoSuchBucket' });
    await expect(put('x', 'x', missing)).rejects.toMatchObject({ name: 'NoSuchBucket' });
    expect(readdirSync(directory)).toEqual([Bucket]);
  });

  test('a presigned address is readable by whoever has it until it expires', async () => {
    const Key = freshKey();
    await put(Key, 'presigned');
    const address = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key }), { expiresIn: 60 });
    expect(await (await fetch(address)).text()).toBe('presigned');
    const signingDate = new Date(Date.now() - 3_600_000);
    const old = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key }), { expiresIn: 60, signingDate });
    expect((await fetch(old)).status).toBe(403);
  });

  test('what the policy does not allow is AccessDenied, for the caller that the router names', async () => {
    const Key = freshKey();
    const host = 'arn:aws:iam::000000000000:role/host';
    allows = ({ caller, action, context }) =>
      caller !== host || (action === 's3:PutObject' && context['s3:if-none-match'] === '*');
    const asHost = (method: string, headers: Record<string, string> = {}) =>
      fetch(`${s3.origin}/${Bucket}/${Key}`, {
        method,
        headers: { 'x-redoubt-caller': host, ...headers },
        ...(method === 'PUT' ? { body: 'x' } : {}),
      });
    expect((await asHost('PUT')).status).toBe(403);
    expect((await asHost('PUT', { 'if-none-match': '*' })).status).toBe(200);
    expect((await asHost('DELETE')).status).toBe(403);
    expect(await exists(Key)).toBe(true);
  });
});

describe('faults', () => {
  test('the n-th request is answered 503 SlowDown, and a client that retries gets through', async () => {
    s3.faults.set([{ operations: ['PutObject'], key: '^slow/', skip: 1, times: 2, fault: { kind: 'slow-down' } }]);
    await put('slow/1', 'x');
    await expect(put('slow/2', 'x')).rejects.toMatchObject({ name: 'SlowDown', $metadata: { httpStatusCode: 503 } });
    const retrying = clientWith(3);
    await retrying.send(new PutObjectCommand({ Bucket, Key: 'slow/3', Body: 'x' }));
    retrying.destroy();
    expect(s3.faults.rules[0]?.seen).toBe(4);
  });

  test('a refusal is seen by a client behind the one endpoint that is still sending a large body', async () => {
    allows = () => false;
    const router = await startRouter({ services: [s3], principals: new Principals() });
    const behind = new S3Client({
      region: 'us-east-1',
      endpoint: router.endpoint,
      credentials: { accessKeyId: 'A', secretAccessKey: 'S' },
      maxAttempts: 1,
    });
    try {
      await expect(
        behind.send(new PutObjectCommand({ Bucket, Key: freshKey(), Body: Buffer.alloc(10 * MiB) })),
      ).rejects.toMatchObject({ name: 'AccessDenied' });
    } finally {
      behind.destroy();
      await router.close();
    }
  });

  test('a lost answer leaves the work done', async () => {
    const Key = freshKey();
    s3.faults.set([{ times: 1, fault: { kind: 'lose-answer' } }]);
    await expect(put(Key, 'done')).rejects.toThrow();
    expect((await bodyOf(Key)).toString()).toBe('done');
  });

  test('a download that is cut fails at the reader', async () => {
    const Key = freshKey();
    await put(Key, randomBytes(2 * MiB));
    s3.faults.set([{ operations: ['GetObject'], fault: { kind: 'reset', afterBytes: MiB } }]);
    await expect(bodyOf(Key)).rejects.toThrow();
  });

  test('rules come over HTTP as well', async () => {
    const rules = [{ operations: ['HeadObject'], fault: { kind: 'error', status: 500, code: 'InternalError' } }];
    await fetch(`${s3.origin}/_redoubt/faults`, { method: 'PUT', body: JSON.stringify(rules) });
    await expect(exists(freshKey())).rejects.toMatchObject({ $metadata: { httpStatusCode: 500 } });
    expect(await (await fetch(`${s3.origin}/_redoubt/faults`)).json()).toEqual([{ ...rules[0], seen: 1 }]);
    await fetch(`${s3.origin}/_redoubt/faults`, { method: 'DELETE' });
    expect(s3.faults.rules).toEqual([]);
  });
});
