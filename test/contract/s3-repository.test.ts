import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateMultipartUploadCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { s3Repository } from '#functions/adapters/s3-repository.ts';
import type { S3Access } from '#local/cloud/s3/front.ts';
import { type S3, startS3 } from '#local/cloud/s3/start-s3.ts';
import { repositoryContract } from './repository-contract.ts';

const buckets = Array.from({ length: 24 }, (_, index) => `repository-${index}`);
const directory = mkdtempSync(join(tmpdir(), 's3-repository-'));
let allows: (access: S3Access) => boolean = () => true;
let s3: S3;
let client: S3Client;
let used = 0;

beforeAll(async () => {
  s3 = await startS3({ stateDirectory: directory, buckets, allows: (access) => allows(access) });
  client = new S3Client({
    region: 'us-east-1',
    endpoint: s3.origin,
    credentials: { accessKeyId: 'A', secretAccessKey: 'S' },
    maxAttempts: 1,
  });
});

afterAll(async () => {
  client?.destroy();
  await s3?.close();
  rmSync(directory, { recursive: true });
});

const nextBucket = (): string => {
  const bucket = buckets[used];
  used += 1;
  if (!bucket) throw new Error('more tests than buckets');
  return bucket;
};

repositoryContract('S3', async () => {
  const Bucket = nextBucket();
  return {
    repository: s3Repository(Bucket, client),
    startUpload: async (Key) => {
      await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    },
  };
});

describe('a repository that does not do as it is asked', () => {
  const operations = (bucket: string) => {
    const repository = s3Repository(bucket, client);
    return [
      () => repository.read('runs/a'),
      () => repository.write('runs/a', 'x'),
      () => repository.list('runs/'),
      () => repository.folders('runs/'),
      () => repository.abortUploads('runs/'),
      () => repository.create('runs/a', 'x'),
      () => repository.remove(['runs/a']),
    ];
  };

  it('is said to refuse where access is denied: that is never taken for an object that is not there', async () => {
    const bucket = nextBucket();
    allows = () => false;
    try {
      for (const operation of [...operations(bucket), () => s3Repository(bucket, client).look('runs/a')])
        await expect(operation()).rejects.toMatchObject({ name: 'RepositoryRefused' });
    } finally {
      allows = () => true;
    }
  });

  // All but a look: S3 answers HEAD without a body, so there the bucket's absence is the object's.
  it('is said to be unavailable where the bucket is not there', async () => {
    for (const operation of operations('no-such-bucket'))
      await expect(operation()).rejects.toMatchObject({ name: 'RepositoryUnavailable' });
  });
});
