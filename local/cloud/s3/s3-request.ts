import type { IncomingMessage } from 'node:http';
import { operatorArn } from '../principals.ts';
import { S3Error } from './s3-error.ts';

/** One request to S3, as its method and its address tell it (path style only). */
export interface S3Request {
  /** The API's name of it, such as `UploadPart`. */
  readonly operation: string;
  readonly method: string;
  readonly bucket: string;
  /** Empty for what is about the bucket. */
  readonly key: string;
  /** The path as it was sent: escaped. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly caller: string;
}

const bucketOperations: readonly (readonly [method: string, query: string | undefined, operation: string])[] = [
  ['GET', 'uploads', 'ListMultipartUploads'],
  ['GET', 'location', 'GetBucketLocation'],
  ['GET', 'list-type', 'ListObjectsV2'],
  ['GET', undefined, 'ListObjects'],
  ['HEAD', undefined, 'HeadBucket'],
  ['PUT', undefined, 'CreateBucket'],
  ['DELETE', undefined, 'DeleteBucket'],
  ['POST', 'delete', 'DeleteObjects'],
];

const objectOperations: typeof bucketOperations = [
  ['GET', 'uploadId', 'ListParts'],
  ['GET', undefined, 'GetObject'],
  ['HEAD', undefined, 'HeadObject'],
  ['PUT', 'uploadId', 'UploadPart'],
  ['PUT', undefined, 'PutObject'],
  ['POST', 'uploads', 'CreateMultipartUpload'],
  ['POST', 'uploadId', 'CompleteMultipartUpload'],
  ['DELETE', 'uploadId', 'AbortMultipartUpload'],
  ['DELETE', undefined, 'DeleteObject'],
];

/** Subresources that this S3 does not have: without this list they would be taken for the object or the bucket itself. */
const subresources = [
  'acl',
  'accelerate',
  'analytics',
  'attributes',
  'cors',
  'encryption',
  'inventory',
  'legal-hold',
  'lifecycle',
  'logging',
  'metrics',
  'notification',
  'object-lock',
  'ownershipControls',
  'policy',
  'policyStatus',
  'publicAccessBlock',
  'replication',
  'requestPayment',
  'restore',
  'retention',
  'select',
  'tagging',
  'torrent',
  'versioning',
  'versions',
  'website',
]; // prettier-ignore

/** @throws S3Error for what this S3 does not have */
export const readRequest = (message: IncomingMessage): S3Request => {
  const url = new URL(message.url ?? '/', 'http://127.0.0.1');
  const [, bucket = '', ...segments] = url.pathname.split('/');
  const key = decodeURIComponent(segments.join('/'));
  const method = message.method ?? 'GET';
  const subresource = subresources.find((name) => url.searchParams.has(name));
  if (subresource !== undefined || url.searchParams.has('versionId')) {
    throw new S3Error(501, 'NotImplemented', `The local S3 has no ${subresource ?? 'versions'}.`);
  }
  if (key.split('/').some((part) => part === '.' || part === '..')) {
    throw new S3Error(400, 'InvalidURI', 'The local S3 takes no key with a part that is a dot or two.');
  }
  const table = key === '' ? bucketOperations : objectOperations;
  const found =
    bucket === ''
      ? 'ListBuckets'
      : table.find(([verb, query]) => verb === method && (query === undefined || url.searchParams.has(query)))?.[2];
  if (found === undefined) {
    throw new S3Error(405, 'MethodNotAllowed', 'The specified method is not allowed against this resource.');
  }
  const headers = message.headers as Readonly<Record<string, string | undefined>>;
  const copies = headers['x-amz-copy-source'] !== undefined;
  if (copies && found === 'UploadPart') throw new S3Error(501, 'NotImplemented', 'The local S3 has no UploadPartCopy.');
  return {
    operation: copies && found === 'PutObject' ? 'CopyObject' : found,
    method,
    bucket: decodeURIComponent(bucket),
    key,
    path: url.pathname,
    query: url.searchParams,
    headers,
    caller: headers['x-redoubt-caller'] ?? operatorArn,
  };
};

/** The IAM action that each operation needs. */
export const actionOf = (operation: string): string => {
  const actions: Readonly<Record<string, string>> = {
    HeadObject: 's3:GetObject',
    CopyObject: 's3:PutObject',
    UploadPart: 's3:PutObject',
    CreateMultipartUpload: 's3:PutObject',
    CompleteMultipartUpload: 's3:PutObject',
    DeleteObjects: 's3:DeleteObject',
    ListObjects: 's3:ListBucket',
    ListObjectsV2: 's3:ListBucket',
    HeadBucket: 's3:ListBucket',
    ListBuckets: 's3:ListAllMyBuckets',
    ListMultipartUploads: 's3:ListBucketMultipartUploads',
    ListParts: 's3:ListMultipartUploadParts',
  };
  return actions[operation] ?? `s3:${operation}`;
};

/** @throws S3Error AccessDenied once a presigned address has expired */
export const refuseExpired = ({ query }: S3Request, now: Date): void => {
  const signed = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(query.get('X-Amz-Date') ?? '');
  const expires = query.get('X-Amz-Expires');
  if (signed === null || expires === null) return;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = signed.slice(1).map(Number);
  const end = Date.UTC(year, month - 1, day, hour, minute, second) + Number(expires) * 1000;
  if (now.getTime() > end) throw new S3Error(403, 'AccessDenied', 'Request has expired');
};
