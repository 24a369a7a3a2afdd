import { beforeAll, describe, expect, it } from 'vitest';
import { evaluateStatements, type Statement } from '#local/cloud/kms/statements.ts';
import { flatten } from './flat-text.ts';
import { SYNTH_MILLISECONDS, synthesize } from './synthesize.ts';

let statements: readonly Statement[];

beforeAll(async () => {
  const { repository } = await synthesize();
  const buckets = Object.entries(repository.findResources('AWS::S3::Bucket'));
  const [id] = buckets.find(([key]) => !key.includes('AccessLog')) ?? [];
  const policy = Object.values(repository.findResources('AWS::S3::BucketPolicy')).find(
    ({ Properties }) => Properties.Bucket.Ref === id,
  );
  const text = JSON.stringify(flatten(policy?.Properties.PolicyDocument.Statement));
  statements = JSON.parse(text.replaceAll(/<[^>]*>/g, 'arn:aws:s3:::repository')) as Statement[];
}, SYNTH_MILLISECONDS);

const host = { 'redoubt-cluster': 'shop' };
const control = { 'redoubt-control-plane': 'redoubt' };
const rewraps = { ...control, 'redoubt-keys': 'redoubt' };
const shreds = { ...rewraps, 'redoubt-shred': 'redoubt' };
const otherControlPlane = { 'redoubt-control-plane': 'other', 'redoubt-keys': 'other', 'redoubt-shred': 'other' };

const segment = 'clusters/shop/chains/20261122T051210Z-3f9a1c/0000-b/data.00000';
const manifest = 'clusters/shop/chains/20261122T051210Z-3f9a1c/0000-b/manifest.json';
const instruction = 'runs/shop/run-1/instruction-1.json';
const progress = 'runs/shop/run-1/progress.json';

const create = { 's3:if-none-match': '*' };
const over = { 's3:if-match': '"etag"' };
const part = { 's3:ObjectCreationOperation': 'false' };

const isDenied = (action: string, key: string, tags: Record<string, string>, headers: Record<string, string> = {}) => {
  const principal = Object.fromEntries(
    Object.entries(tags).map(([name, value]) => [`aws:PrincipalTag/${name}`, value]),
  );
  const context = {
    'aws:SecureTransport': 'true',
    's3:TlsVersion': '1.3',
    's3:ObjectCreationOperation': 'true',
    ...headers,
    ...principal,
  };
  const resource = `arn:aws:s3:::repository/${key}`;
  return evaluateStatements(statements, { action, resource, context }) === 'deny';
};

describe('the policy of the repository denies', () => {
  it.each([
    ['a host to write over a segment', 's3:PutObject', segment, host, {}],
    ['a host to write over a manifest', 's3:PutObject', manifest, host, {}],
    ['a host to write over a manifest that it has read', 's3:PutObject', manifest, host, over],
    ['the control plane to write over a manifest', 's3:PutObject', manifest, control, {}],
    ['the control plane to write over a manifest that it has read', 's3:PutObject', manifest, control, over],
    ['who re-wraps to write over a manifest that it has not read', 's3:PutObject', manifest, rewraps, {}],
    ['who re-wraps to make a manifest', 's3:PutObject', manifest, rewraps, create],
    ['who re-wraps to write over a segment', 's3:PutObject', segment, rewraps, over],
    ['who re-wraps to write an instruction', 's3:PutObject', instruction, rewraps, over],
    ['who re-wraps another control plane to write over a manifest', 's3:PutObject', manifest, otherControlPlane, over],
    ['a host to remove', 's3:DeleteObject', segment, host, {}],
    ['a host to remove its progress', 's3:DeleteObject', progress, host, {}],
    ['a host to remove a version', 's3:DeleteObjectVersion', manifest, host, {}],
    ['the control plane to remove a version', 's3:DeleteObjectVersion', manifest, control, {}],
    ['who re-wraps to remove a version', 's3:DeleteObjectVersion', manifest, rewraps, {}],
    ['who shreds to remove a version of a segment', 's3:DeleteObjectVersion', segment, shreds, {}],
    ['who shreds to remove a segment', 's3:DeleteObject', segment, shreds, {}],
    ['who shreds to get around a lock', 's3:BypassGovernanceRetention', manifest, shreds, {}],
    ['who shreds another control plane to remove a version', 's3:DeleteObjectVersion', manifest, otherControlPlane, {}],
    ['everybody the way without TLS', 's3:GetObject', manifest, control, { 'aws:SecureTransport': 'false' }],
  ])('%s', (_, action, key, tags, headers) => {
    expect(isDenied(action, key, tags, headers)).toBe(true);
  });
});

describe('the policy of the repository leaves to IAM', () => {
  it.each([
    ['a host to make a segment', 's3:PutObject', segment, host, create],
    ['a host to upload a part of one', 's3:PutObject', segment, host, part],
    ['a host to make a manifest', 's3:PutObject', manifest, host, create],
    ['a host to write its progress over', 's3:PutObject', progress, host, {}],
    ['the control plane to put a tombstone where no manifest is', 's3:PutObject', manifest, control, create],
    ['the control plane to write an instruction', 's3:PutObject', instruction, control, {}],
    ['the control plane to remove a left-over', 's3:DeleteObject', segment, control, {}],
    ['who re-wraps to write over a manifest that it has read', 's3:PutObject', manifest, rewraps, over],
    ['who shreds to write over a manifest that it has read', 's3:PutObject', manifest, shreds, over],
    ['who shreds to remove a version of a manifest', 's3:DeleteObjectVersion', manifest, shreds, {}],
    ['who shreds to remove a version of an instruction', 's3:DeleteObjectVersion', instruction, shreds, {}],
    ['who shreds to remove an instruction where there are no versions', 's3:DeleteObject', instruction, shreds, {}],
  ])('%s', (_, action, key, tags, headers) => {
    expect(isDenied(action, key, tags, headers)).toBe(false);
  });
});
