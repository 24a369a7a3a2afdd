import { rm } from 'node:fs/promises';
import { Match, type Template } from 'aws-cdk-lib/assertions';
import { beforeAll, describe, expect, it } from 'vitest';
import { redoubtApp, SYNTH_MILLISECONDS, synthesize } from './synthesize.ts';

let template: Template;

beforeAll(async () => {
  ({ repository: template } = await synthesize());
}, SYNTH_MILLISECONDS);

/** The one bucket that is not the access log. */
const repositoryBucket = (from = template) => {
  const [id] = Object.entries(from.findResources('AWS::S3::Bucket')).find(([key]) => !key.includes('AccessLog')) ?? [];
  if (!id) throw new Error('no repository bucket');
  return { id, bucket: from.findResources('AWS::S3::Bucket')[id] as { Properties: Record<string, unknown> } };
};

describe('the stack of the repository', () => {
  it('keeps everything that holds data when the stack is deleted', () => {
    for (const type of ['AWS::S3::Bucket', 'AWS::DynamoDB::Table', 'AWS::KMS::Key']) {
      template.allResources(type, { DeletionPolicy: 'Retain', UpdateReplacePolicy: 'Retain' });
    }
  });

  it('is protected against its deletion', async () => {
    const { repository, directory } = await redoubtApp();
    await rm(directory, { recursive: true });
    expect(repository.terminationProtection).toBe(true);
  });
});

describe('the repository bucket', () => {
  it('keeps versions, and noncurrent ones for as long as configured', async () => {
    expect(repositoryBucket().bucket.Properties.VersioningConfiguration).toEqual({ Status: 'Enabled' });
    const { repository } = await synthesize({ noncurrentDays: 77 });
    repository.hasResourceProperties('AWS::S3::Bucket', {
      LifecycleConfiguration: {
        Rules: Match.arrayWith([Match.objectLike({ NoncurrentVersionExpiration: { NoncurrentDays: 77 } })]),
      },
    });
  });

  it('ends uploads that nobody completes after two days', () => {
    template.hasResourceProperties('AWS::S3::Bucket', {
      LifecycleConfiguration: {
        Rules: Match.arrayWith([
          Match.objectLike({ AbortIncompleteMultipartUpload: { DaysAfterInitiation: 2 }, Status: 'Enabled' }),
        ]),
      },
    });
  });

  it('lets nothing but the runs expire', () => {
    const { Rules } = repositoryBucket().bucket.Properties.LifecycleConfiguration as {
      Rules: { ExpirationInDays?: number; Prefix?: string }[];
    };
    expect(Rules.filter((rule) => rule.ExpirationInDays !== undefined).map((rule) => rule.Prefix)).toEqual(['runs/']);
  });

  it('is closed to the public and writes an access log, as every bucket here but the log itself', () => {
    template.allResourcesProperties('AWS::S3::Bucket', {
      PublicAccessBlockConfiguration: {
        BlockPublicAcls: true,
        BlockPublicPolicy: true,
        IgnorePublicAcls: true,
        RestrictPublicBuckets: true,
      },
    });
    expect(repositoryBucket().bucket.Properties.LoggingConfiguration).toBeDefined();
  });

  it('answers over TLS only, as every bucket here', () => {
    template.allResourcesProperties('AWS::S3::BucketPolicy', {
      PolicyDocument: {
        Statement: Match.arrayWith([
          Match.objectLike({
            Effect: 'Deny',
            Action: 's3:*',
            Condition: { Bool: { 'aws:SecureTransport': 'false' } },
          }),
        ]),
      },
    });
  });

  it('has Object Lock where it is configured, and only there', async () => {
    expect(repositoryBucket().bucket.Properties.ObjectLockEnabled).toBeUndefined();
    const { repository } = await synthesize({ objectLock: { mode: 'compliance', days: 35 } });
    repository.hasResourceProperties('AWS::S3::Bucket', {
      ObjectLockEnabled: true,
      ObjectLockConfiguration: { Rule: { DefaultRetention: { Mode: 'COMPLIANCE', Days: 35 } } },
    });
  });
});

describe('the catalog', () => {
  it('can be restored to a point in time and is protected against its deletion', () => {
    template.hasResourceProperties('AWS::DynamoDB::Table', {
      PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
      DeletionProtectionEnabled: true,
      BillingMode: 'PAY_PER_REQUEST',
    });
  });

  it('loses the commands of ended runs after a while', () => {
    template.hasResourceProperties('AWS::DynamoDB::Table', {
      TimeToLiveSpecification: { AttributeName: 'expires', Enabled: true },
    });
  });
});

describe('the key that wraps the data keys', () => {
  it('is rotated, and stays for thirty days once somebody schedules its deletion', () => {
    template.hasResourceProperties('AWS::KMS::Key', { EnableKeyRotation: true, PendingWindowInDays: 30 });
  });

  it('gives nobody anything but by IAM', () => {
    const [key] = Object.values(template.findResources('AWS::KMS::Key'));
    expect(key?.Properties.KeyPolicy.Statement).toHaveLength(1);
    expect(JSON.stringify(key?.Properties.KeyPolicy.Statement[0].Principal)).toContain(':root');
  });

  it('is a multi-Region key where that is configured, with an alias that a replica can have too', async () => {
    template.hasResourceProperties('AWS::KMS::Key', { MultiRegion: false });
    const { repository } = await synthesize({ multiRegionKey: true });
    repository.hasResourceProperties('AWS::KMS::Key', { MultiRegion: true, EnableKeyRotation: true });
    repository.hasResourceProperties('AWS::KMS::Alias', { AliasName: 'alias/redoubt/data-key' });
  });
});
