import { setTimeout } from 'node:timers/promises';
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  type ListObjectVersionsCommandOutput,
  NoSuchKey,
  NoSuchUpload,
  NotFound,
  PutObjectCommand,
  paginateListObjectsV2,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { RedoubtError } from '#core/errors.ts';
import type { Repository, StoredVersion } from '#core/ports/repository.ts';

const HTTP_FORBIDDEN = 403;
const HTTP_NOT_FOUND = 404;
const HTTP_CONFLICT = 409;
const HTTP_PRECONDITION_FAILED = 412;
const HTTP_NOT_IMPLEMENTED = 501;

/** Tries of a conditional write that met another one in progress, and the pause after the first; the SDK does not try again. */
const UNDECIDED_TRIES = 5;
const UNDECIDED_MILLISECONDS = 100;

/** What one DeleteObjects call takes. */
const DELETE_BATCH = 1000;

const statusOf = (error: unknown): number | undefined =>
  error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;

const isAbsent = (error: unknown): boolean =>
  error instanceof NoSuchKey ||
  error instanceof NotFound ||
  (statusOf(error) === HTTP_NOT_FOUND && (error as S3ServiceException).name !== 'NoSuchBucket');

const repositoryFailure = (doing: string, error: unknown): RedoubtError => {
  if (error instanceof RedoubtError) return error;
  const name = error instanceof Error ? error.name : String(error);
  const refused = statusOf(error) === HTTP_FORBIDDEN;
  return new RedoubtError(refused ? 'RepositoryRefused' : 'RepositoryUnavailable', `${doing}: S3 answered ${name}`, {
    cause: error,
  });
};

const ask = async <Answer>(doing: string, call: Promise<Answer>): Promise<Answer> => {
  try {
    return await call;
  } catch (error) {
    throw repositoryFailure(doing, error);
  }
};

const unlessAbsent = async <Answer>(doing: string, call: Promise<Answer>): Promise<Answer | undefined> => {
  try {
    return await call;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw repositoryFailure(doing, error);
  }
};

export const s3Repository = (bucket: string, client = new S3Client({})): Repository => {
  const list = async (prefix: string): Promise<readonly string[]> => {
    const collect = async () => {
      const keys: string[] = [];
      for await (const page of paginateListObjectsV2({ client }, { Bucket: bucket, Prefix: prefix })) {
        for (const { Key } of page.Contents ?? []) if (Key) keys.push(Key);
      }
      return keys;
    };
    return ask(`listing ${prefix}`, collect());
  };

  const versions = async (prefix: string): Promise<readonly StoredVersion[]> => {
    const found: StoredVersion[] = [];
    let marker: { KeyMarker?: string; VersionIdMarker?: string } = {};
    for (;;) {
      let page: ListObjectVersionsCommandOutput;
      try {
        page = await client.send(new ListObjectVersionsCommand({ Bucket: bucket, Prefix: prefix, ...marker }));
      } catch (error) {
        // A store that knows no versions has one of each object.
        if (statusOf(error) === HTTP_NOT_IMPLEMENTED)
          return (await list(prefix)).map((key) => ({ key, isLatest: true, isMarker: false }));
        throw repositoryFailure(`listing the versions under ${prefix}`, error);
      }
      const add = (versionsOfPage: ListObjectVersionsCommandOutput['DeleteMarkers'] = [], isMarker: boolean) => {
        for (const { Key, VersionId, IsLatest } of versionsOfPage)
          if (Key)
            found.push({ key: Key, ...(VersionId && { version: VersionId }), isLatest: IsLatest === true, isMarker });
      };
      add(page.Versions, false);
      add(page.DeleteMarkers, true);
      if (!page.IsTruncated || !page.NextKeyMarker) return found;
      marker = {
        KeyMarker: page.NextKeyMarker,
        ...(page.NextVersionIdMarker && { VersionIdMarker: page.NextVersionIdMarker }),
      };
    }
  };

  const abortUploads = async (prefix: string): Promise<number> => {
    let aborted = 0;
    let marker: { KeyMarker?: string; UploadIdMarker?: string } = {};
    for (;;) {
      const page = await ask(
        `listing the uploads under ${prefix}`,
        client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix, ...marker })),
      );
      for (const { Key, UploadId } of page.Uploads ?? []) {
        if (!Key?.startsWith(prefix) || !UploadId) continue;
        try {
          await client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key, UploadId }));
          aborted += 1;
        } catch (error) {
          // It ended meanwhile.
          if (!(error instanceof NoSuchUpload) && !isAbsent(error))
            throw repositoryFailure(`ending the upload of ${Key}`, error);
        }
      }
      if (!page.IsTruncated || !page.NextKeyMarker) return aborted;
      marker = {
        KeyMarker: page.NextKeyMarker,
        ...(page.NextUploadIdMarker && { UploadIdMarker: page.NextUploadIdMarker }),
      };
    }
  };

  return {
    async read(key, version) {
      const answer = await unlessAbsent(
        `reading ${key}`,
        client.send(new GetObjectCommand({ Bucket: bucket, Key: key, ...(version && { VersionId: version }) })),
      );
      if (!answer?.Body) return undefined;
      const text = await ask(`reading ${key}`, answer.Body.transformToString('utf-8'));
      return { text, etag: answer.ETag ?? '' };
    },

    async create(key, text) {
      const put = new PutObjectCommand({
        Bucket: bucket,
        Key: key,
        Body: text,
        ContentType: 'application/json',
        IfNoneMatch: '*',
      });
      for (let tries = 1; ; tries += 1) {
        try {
          await client.send(put);
          return 'created';
        } catch (error) {
          if (statusOf(error) === HTTP_PRECONDITION_FAILED) return 'exists';
          // Somebody writes at this moment: S3 has not decided who wins.
          if (statusOf(error) !== HTTP_CONFLICT || tries === UNDECIDED_TRIES)
            throw repositoryFailure(`creating ${key}`, error);
          await setTimeout(UNDECIDED_MILLISECONDS * tries);
        }
      }
    },

    async replace(key, text, etag) {
      try {
        await client.send(
          new PutObjectCommand({
            Bucket: bucket,
            Key: key,
            Body: text,
            ContentType: 'application/json',
            IfMatch: etag,
          }),
        );
        return 'replaced';
      } catch (error) {
        // Gone, something else, or somebody writes at this moment.
        if (isAbsent(error) || statusOf(error) === HTTP_PRECONDITION_FAILED || statusOf(error) === HTTP_CONFLICT)
          return 'changed';
        throw repositoryFailure(`replacing ${key}`, error);
      }
    },

    versions,

    async removeVersion({ key, version }) {
      await unlessAbsent(
        `removing ${key}`,
        client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key, ...(version && { VersionId: version }) })),
      );
    },

    async write(key, text) {
      await ask(
        `writing ${key}`,
        client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: text, ContentType: 'application/json' })),
      );
    },

    async look(key) {
      const facts = await unlessAbsent(
        `looking at ${key}`,
        client.send(new HeadObjectCommand({ Bucket: bucket, Key: key, ChecksumMode: 'ENABLED' })),
      );
      if (facts?.ContentLength === undefined) return undefined;
      // The checksum of a multipart upload is one over the parts' checksums, unless S3 says that it is of the whole object.
      const whole = facts.ChecksumSHA256 && !facts.ChecksumSHA256.includes('-') && facts.ChecksumType !== 'COMPOSITE';
      return {
        bytes: facts.ContentLength,
        ...(facts.VersionId && { version: facts.VersionId }),
        ...(whole && facts.ChecksumSHA256 && { sha256: Buffer.from(facts.ChecksumSHA256, 'base64').toString('hex') }),
      };
    },

    list,

    async folders(prefix, after) {
      const collect = async () => {
        const found: string[] = [];
        const pages = paginateListObjectsV2(
          { client },
          {
            Bucket: bucket,
            Prefix: prefix,
            Delimiter: '/',
            // `0` is the character after `/`: nothing inside the folder itself comes behind it.
            ...(after && { StartAfter: `${prefix}${after.replace(/\/$/, '0')}` }),
          },
        );
        for await (const page of pages) {
          for (const { Prefix } of page.CommonPrefixes ?? []) if (Prefix) found.push(Prefix.slice(prefix.length));
        }
        return found;
      };
      return ask(`listing ${prefix}`, collect());
    },

    abortUploads,

    async remove(keys) {
      for (let at = 0; at < keys.length; at += DELETE_BATCH) {
        const { Errors } = await ask(
          `removing ${keys[at]} and others`,
          client.send(
            new DeleteObjectsCommand({
              Bucket: bucket,
              Delete: { Objects: keys.slice(at, at + DELETE_BATCH).map((Key) => ({ Key })), Quiet: true },
            }),
          ),
        );
        const [first] = Errors ?? [];
        if (first)
          throw new RedoubtError(
            first.Code === 'AccessDenied' ? 'RepositoryRefused' : 'RepositoryUnavailable',
            `removing ${first.Key}: S3 answered ${first.Code}`,
          );
      }
    },
  };
};
