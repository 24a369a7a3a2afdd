import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import type { Template } from 'aws-cdk-lib/assertions';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ClusterId, clusterIdSchema, runIdSchema } from '#core/ids.ts';
import { dataKeyOf, instructionKey, manifestKey, progressKey } from '#core/object-keys.ts';
import { Access } from '#local/cloud/access.ts';
import type { JsonObject } from '#local/cloud/json.ts';
import { operatorArn } from '#local/cloud/principals.ts';
import { type S3, startS3 } from '#local/cloud/s3/start-s3.ts';
import type { Resource } from '#local/cloud/template/resolve-assembly.ts';
import { sampleAddress } from '../doubles/sample-manifest.ts';
import { flatten } from '../infra/flat-text.ts';
import { SYNTH_MILLISECONDS, synthesize } from '../infra/synthesize.ts';

/** The deployed policies in front of a real S3 protocol; two clusters, each with a host, and a host that receives anybody's restores. */
const Bucket = 'repository';
const roleOf = (name: string) => `arn:aws:iam::000000000000:role/${name}`;
const directory = mkdtempSync(join(tmpdir(), 'redoubt-two-clusters-'));
let s3: S3;

const policiesIn = (template: Template, type: string): readonly Resource[] =>
  Object.entries(template.findResources(type)).map(([logicalId, { Properties }]) => {
    const text = JSON.stringify(flatten(Properties)).replaceAll(/<Repository\w+(?:\.Arn)?>/g, `arn:aws:s3:::${Bucket}`);
    const properties = JSON.parse(text) as JsonObject;
    return { stackName: '', logicalId, type, name: logicalId, arn: undefined, properties };
  });

const isOfRepository = ({ logicalId }: Resource) => !logicalId.includes('AccessLog');

beforeAll(async () => {
  const { repository, controlPlane } = await synthesize();
  const ofBucket = policiesIn(repository, 'AWS::S3::BucketPolicy')
    .filter(isOfRepository)
    .map((policy) => ({ ...policy, properties: { ...policy.properties, Bucket } }));
  expect(ofBucket).toHaveLength(1);
  const host = ['HostPoliciesHost'];
  const access = new Access(
    [...ofBucket, ...policiesIn(controlPlane, 'AWS::IAM::ManagedPolicy')],
    [
      { arn: roleOf('shop'), tags: { 'redoubt-cluster': 'shop' }, managedPolicies: host },
      { arn: roleOf('bank'), tags: { 'redoubt-cluster': 'bank' }, managedPolicies: host },
      { arn: roleOf('untagged'), tags: {}, managedPolicies: host },
      {
        arn: roleOf('restores'),
        tags: { 'redoubt-cluster': 'restores' },
        managedPolicies: [...host, 'HostPoliciesRestoreHost'],
      },
    ],
  );
  s3 = await startS3({ stateDirectory: directory, buckets: [Bucket], allows: access.allowsS3 });
  for (const cluster of [shop, bank]) for (const key of keysOf(cluster)) await as(operatorArn).put(key);
}, SYNTH_MILLISECONDS);

afterAll(async () => {
  await s3.close();
  rmSync(directory, { recursive: true });
});

const shop = clusterIdSchema.parse('shop');
const bank = clusterIdSchema.parse('bank');

/** The same run name in both: knowing it must not help. */
const runAt = (cluster: ClusterId) => ({ cluster, run: runIdSchema.parse('run-1') });
const addressAt = (cluster: ClusterId, seq = 0) => ({ ...sampleAddress(seq), cluster });
const keysOf = (cluster: ClusterId) => [
  instructionKey(runAt(cluster), 1),
  dataKeyOf(addressAt(cluster), 0),
  manifestKey(addressAt(cluster)),
];

/** `allowed`, or the name of the refusal. */
const outcome = async (request: Promise<unknown>): Promise<string> =>
  request.then(
    () => 'allowed',
    (error: Error) => error.name,
  );

const as = (caller: string) => {
  const client = new S3Client({
    region: 'us-east-1',
    endpoint: s3.origin,
    credentials: { accessKeyId: 'A', secretAccessKey: 'S' },
    maxAttempts: 1,
  });
  client.middlewareStack.add(
    (next) => (args) => {
      (args.request as { headers: Record<string, string> }).headers['x-redoubt-caller'] = caller;
      return next(args);
    },
    { step: 'build' },
  );
  return {
    get: (Key: string) => outcome(client.send(new GetObjectCommand({ Bucket, Key }))),
    put: (Key: string, more: object = { IfNoneMatch: '*' }) =>
      outcome(client.send(new PutObjectCommand({ Bucket, Key, Body: '{}', ...more }))),
    list: (Prefix: string) => outcome(client.send(new ListObjectsV2Command({ Bucket, Prefix }))),
  };
};

describe.each([
  ['shop', shop, bank],
  ['bank', bank, shop],
] as const)('a host of the cluster %s', (name, own, other) => {
  const host = () => as(roleOf(name));

  it('reads what it was told, and reads and adds backups of its own cluster', async () => {
    for (const key of keysOf(own)) expect(await host().get(key), key).toBe('allowed');
    expect(await host().put(dataKeyOf(addressAt(own, 1), 0))).toBe('allowed');
    expect(await host().put(manifestKey(addressAt(own, 1)))).toBe('allowed');
    expect(await host().put(progressKey(runAt(own)), {})).toBe('allowed');
    expect(await host().put(progressKey(runAt(own)), {})).toBe('allowed');
  });

  it('reads nothing of a run or a backup of the other cluster, though it knows their names', async () => {
    for (const key of keysOf(other)) expect(await host().get(key), key).toBe('AccessDenied');
  });

  it('writes nothing to a run or a backup of the other cluster', async () => {
    expect(await host().put(progressKey(runAt(other)), {})).toBe('AccessDenied');
    expect(await host().put(dataKeyOf(addressAt(other, 2), 0))).toBe('AccessDenied');
    expect(await host().put(manifestKey(addressAt(other, 2)))).toBe('AccessDenied');
  });

  it('writes no instruction, not for itself either', async () => {
    for (const cluster of [own, other])
      expect(await host().put(instructionKey(runAt(cluster), 2))).toBe('AccessDenied');
  });

  it('may not look around', async () => {
    for (const prefix of ['runs/', `runs/${own}/`, `clusters/${own}/`, ''])
      expect(await host().list(prefix)).toBe('AccessDenied');
  });
});

describe('a host whose role has no tag', () => {
  it('reaches no cluster at all', async () => {
    for (const key of [...keysOf(shop), ...keysOf(bank)])
      expect(await as(roleOf('untagged')).get(key)).toBe('AccessDenied');
    expect(await as(roleOf('untagged')).put(progressKey(runAt(shop)), {})).toBe('AccessDenied');
  });
});

describe('a host that receives restores of any cluster', () => {
  it('reads what it is told about each and reports on it, and adds to none of their backups', async () => {
    const host = as(roleOf('restores'));
    for (const cluster of [shop, bank]) {
      for (const key of keysOf(cluster)) expect(await host.get(key), key).toBe('allowed');
      expect(await host.put(progressKey(runAt(cluster)), {})).toBe('allowed');
      expect(await host.put(dataKeyOf(addressAt(cluster, 3), 0))).toBe('AccessDenied');
      expect(await host.put(instructionKey(runAt(cluster), 2))).toBe('AccessDenied');
    }
  });
});
