import {
  DeleteObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { mockClient } from 'aws-sdk-client-mock';
import { beforeEach, describe, expect, it } from 'vitest';
import { s3Repository } from '#functions/adapters/s3-repository.ts';

const s3 = mockClient(S3Client);
beforeEach(() => {
  s3.reset();
});

const repository = s3Repository('repository', new S3Client({ region: 'us-east-1' }));
const refusal = (name: string, httpStatusCode: number) =>
  new S3ServiceException({ name, $fault: 'client', $metadata: { httpStatusCode } });

describe('the versions in a bucket', () => {
  it('are those of every page, markers included', async () => {
    s3.on(ListObjectVersionsCommand)
      .resolvesOnce({
        Versions: [{ Key: 'a', VersionId: '2', IsLatest: false }],
        DeleteMarkers: [{ Key: 'a', VersionId: '3', IsLatest: true }],
        IsTruncated: true,
        NextKeyMarker: 'a',
        NextVersionIdMarker: '2',
      })
      .resolvesOnce({
        Versions: [
          { Key: 'a', VersionId: '1', IsLatest: false },
          { Key: 'b', VersionId: 'null', IsLatest: true },
        ],
      });
    expect(await repository.versions('')).toEqual([
      { key: 'a', version: '2', isLatest: false, isMarker: false },
      { key: 'a', version: '3', isLatest: true, isMarker: true },
      { key: 'a', version: '1', isLatest: false, isMarker: false },
      { key: 'b', version: 'null', isLatest: true, isMarker: false },
    ]);
    expect(s3.commandCalls(ListObjectVersionsCommand)[1]?.args[0].input).toMatchObject({
      KeyMarker: 'a',
      VersionIdMarker: '2',
    });
  });

  it('are one of each object where the store knows none', async () => {
    s3.on(ListObjectVersionsCommand).rejects(refusal('NotImplemented', 501));
    s3.on(ListObjectsV2Command).resolves({ Contents: [{ Key: 'a' }] });
    expect(await repository.versions('')).toEqual([{ key: 'a', isLatest: true, isMarker: false }]);
  });

  it('are never taken for none where they may not be listed', async () => {
    s3.on(ListObjectVersionsCommand).rejects(refusal('AccessDenied', 403));
    await expect(repository.versions('')).rejects.toMatchObject({ name: 'RepositoryRefused' });
  });

  it('are removed by their id, for good', async () => {
    s3.on(DeleteObjectCommand).resolves({});
    await repository.removeVersion({ key: 'a', version: '1' });
    expect(s3.commandCalls(DeleteObjectCommand)[0]?.args[0].input).toEqual({
      Bucket: 'repository',
      Key: 'a',
      VersionId: '1',
    });
  });

  it('that are locked are refused by name', async () => {
    s3.on(DeleteObjectCommand).rejects(refusal('AccessDenied', 403));
    await expect(repository.removeVersion({ key: 'a', version: '1' })).rejects.toMatchObject({
      name: 'RepositoryRefused',
      detail: expect.stringContaining('removing a'),
    });
  });
});

describe('an object that is replaced', () => {
  it('is replaced over the ETag that was read only', async () => {
    s3.on(PutObjectCommand).resolves({});
    expect(await repository.replace('a', '{}', '"e"')).toBe('replaced');
    expect(s3.commandCalls(PutObjectCommand)[0]?.args[0].input).toMatchObject({ IfMatch: '"e"', Body: '{}' });
  });

  it.each([
    ['PreconditionFailed', 412],
    ['ConditionalRequestConflict', 409],
    ['NoSuchKey', 404],
  ])('was changed meanwhile where S3 answers %s', async (name, status) => {
    s3.on(PutObjectCommand).rejects(refusal(name, status));
    expect(await repository.replace('a', '{}', '"e"')).toBe('changed');
  });

  it('may be none of ours to replace', async () => {
    s3.on(PutObjectCommand).rejects(refusal('AccessDenied', 403));
    await expect(repository.replace('a', '{}', '"e"')).rejects.toMatchObject({ name: 'RepositoryRefused' });
  });
});
