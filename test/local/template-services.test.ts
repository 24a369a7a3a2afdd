import { join } from 'node:path';
import { DecryptCommand, GenerateDataKeyWithoutPlaintextCommand, KMSClient } from '@aws-sdk/client-kms';
import { DeleteObjectCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { DescribeDocumentCommand, GetParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kmsPart, s3Part, ssmPart } from '#local/cloud/standard-services.ts';
import { type Cloud, startCloud } from '#local/cloud/start-cloud.ts';
import { clientOptions, temporaryDirectory, writeAssembly } from './template-fixture.ts';

const hostArn = 'arn:aws:iam::000000000000:role/db-1';
const objects = (pattern: string) => ({ 'Fn::Join': ['', [{ 'Fn::GetAtt': ['Bucket', 'Arn'] }, `/${pattern}`]] });

const template = {
  Resources: {
    Key: {
      Type: 'AWS::KMS::Key',
      Properties: {
        EnableKeyRotation: true,
        KeyPolicy: {
          Statement: [
            {
              Effect: 'Allow',
              Principal: { AWS: 'arn:aws:iam::000000000000:root' },
              Action: 'kms:*',
              Resource: '*',
            },
          ],
        },
      },
    },
    Alias: {
      Type: 'AWS::KMS::Alias',
      Properties: { AliasName: 'alias/data-key', TargetKeyId: { 'Fn::GetAtt': ['Key', 'Arn'] } },
    },
    Bucket: { Type: 'AWS::S3::Bucket', Properties: { BucketName: 'repository' } },
    BucketPolicy: {
      Type: 'AWS::S3::BucketPolicy',
      Properties: {
        Bucket: { Ref: 'Bucket' },
        PolicyDocument: {
          Statement: [
            {
              Effect: 'Deny',
              Principal: { AWS: '*' },
              Action: 's3:*',
              Resource: objects('*'),
              Condition: { Bool: { 'aws:SecureTransport': 'false' } },
            },
            {
              Effect: 'Deny',
              Principal: { AWS: '*' },
              Action: 's3:PutObject',
              Resource: objects('clusters/*'),
              Condition: { Null: { 's3:if-none-match': 'true' }, Bool: { 's3:ObjectCreationOperation': 'true' } },
            },
            {
              Effect: 'Deny',
              Principal: { AWS: '*' },
              Action: 's3:DeleteObject',
              Resource: objects('*'),
              Condition: { StringNotEquals: { 'aws:PrincipalTag/control-plane': 'redoubt' } },
            },
          ],
        },
      },
    },
    HostPolicy: {
      Type: 'AWS::IAM::ManagedPolicy',
      Properties: {
        PolicyDocument: {
          Statement: [
            {
              Effect: 'Allow',
              Action: ['s3:GetObject', 's3:PutObject'],
              // biome-ignore lint/suspicious/noTemplateCurlyInString: IAM's own policy variable.
              Resource: objects('clusters/${aws:PrincipalTag/cluster}/*'),
            },
          ],
        },
      },
    },
    ControlRole: {
      Type: 'AWS::IAM::Role',
      Properties: {
        RoleName: 'control',
        Tags: [{ Key: 'control-plane', Value: 'redoubt' }],
        Policies: [
          {
            PolicyDocument: {
              Statement: [
                { Effect: 'Allow', Action: 's3:DeleteObject', Resource: objects('*') },
                {
                  Effect: 'Allow',
                  Action: 'kms:GenerateDataKeyWithoutPlaintext',
                  Resource: { 'Fn::GetAtt': ['Key', 'Arn'] },
                },
              ],
            },
          },
        ],
      },
    },
    Address: {
      Type: 'AWS::SSM::Parameter',
      Properties: {
        Name: '/redoubt/address',
        Type: 'String',
        Value: { 'Fn::Join': ['', ['{"bucket":"', { Ref: 'Bucket' }, '"}']] },
      },
    },
    Document: {
      Type: 'AWS::SSM::Document',
      Properties: {
        Name: 'redoubt-Run',
        DocumentType: 'Command',
        Content: {
          schemaVersion: '2.2',
          mainSteps: [{ name: 'run', action: 'aws:runShellScript', inputs: { runCommand: ['true'] } }],
        },
      },
    },
  },
};

const directory = temporaryDirectory();
let cloud: Cloud;
beforeAll(async () => {
  cloud = await startCloud({
    cdkOut: writeAssembly(join(directory.path, 'cdk.out'), [{ name: 'main', template }]),
    stateDirectory: join(directory.path, 'state'),
    services: [kmsPart, s3Part(), ssmPart()],
    roles: [{ arn: hostArn, tags: { cluster: 'shop' }, managedPolicies: ['HostPolicy'] }],
  });
});
afterAll(async () => {
  await cloud.close();
  await directory[Symbol.asyncDispose]();
});

const as = (arn: string) => ({ ...clientOptions(cloud), credentials: cloud.principals.credentialsFor(arn) });
const controlArn = 'arn:aws:iam::000000000000:role/control';

describe('the resources of the templates', () => {
  test('documents and parameters are there, with their references filled in', async () => {
    const ssm = new SSMClient(clientOptions(cloud));
    const { Parameter } = await ssm.send(new GetParameterCommand({ Name: '/redoubt/address' }));
    expect(Parameter?.Value).toBe('{"bucket":"repository"}');
    const { Document } = await ssm.send(new DescribeDocumentCommand({ Name: 'redoubt-Run' }));
    expect(Document?.DocumentType).toBe('Command');
  });

  test('a key has the id that references to it have, and its alias', async () => {
    const key = cloud.find('AWS::KMS::Key');
    const made = await new KMSClient(as(controlArn)).send(
      new GenerateDataKeyWithoutPlaintextCommand({ KeyId: 'alias/data-key', NumberOfBytes: 32 }),
    );
    expect(made.KeyId).toBe(key.arn);
  });
});

describe('the policies of the templates', () => {
  const key = (cluster: string, name: string) => ({ Bucket: 'repository', Key: `clusters/${cluster}/${name}` });
  const denied = { name: 'AccessDenied' };

  test('let a host add to its own cluster, read it, and neither replace nor remove', async () => {
    const s3 = new S3Client(as(hostArn));
    await s3.send(new PutObjectCommand({ ...key('shop', 'a'), Body: 'a', IfNoneMatch: '*' }));
    expect(await (await s3.send(new GetObjectCommand(key('shop', 'a')))).Body?.transformToString()).toBe('a');
    await expect(s3.send(new PutObjectCommand({ ...key('shop', 'a'), Body: 'b' }))).rejects.toMatchObject(denied);
    await expect(
      s3.send(new PutObjectCommand({ ...key('shop', 'a'), Body: 'b', IfNoneMatch: '*' })),
    ).rejects.toMatchObject({ name: 'PreconditionFailed' });
    await expect(s3.send(new DeleteObjectCommand(key('shop', 'a')))).rejects.toMatchObject(denied);
  });

  test('keep a host from other clusters', async () => {
    const s3 = new S3Client(as(hostArn));
    await expect(
      s3.send(new PutObjectCommand({ ...key('crm', 'a'), Body: 'a', IfNoneMatch: '*' })),
    ).rejects.toMatchObject(denied);
    await expect(s3.send(new GetObjectCommand(key('crm', 'a')))).rejects.toMatchObject(denied);
  });

  test('let a role of the templates do what they say, and no more', async () => {
    const s3 = new S3Client(as(controlArn));
    await s3.send(new DeleteObjectCommand(key('shop', 'never-there')));
    await expect(s3.send(new GetObjectCommand(key('shop', 'a')))).rejects.toMatchObject(denied);
  });

  test('give nobody a standing permission to decrypt', async () => {
    const { CiphertextBlob } = await new KMSClient(as(controlArn)).send(
      new GenerateDataKeyWithoutPlaintextCommand({ KeyId: 'alias/data-key', NumberOfBytes: 32 }),
    );
    for (const arn of [hostArn, controlArn]) {
      await expect(new KMSClient(as(arn)).send(new DecryptCommand({ CiphertextBlob }))).rejects.toMatchObject({
        name: 'AccessDeniedException',
      });
    }
  });

  test('a role that attaches a policy which no template has is an error', async () => {
    await using other = temporaryDirectory();
    await expect(
      startCloud({
        cdkOut: join(directory.path, 'cdk.out'),
        stateDirectory: other.path,
        services: [],
        roles: [{ arn: hostArn, tags: {}, managedPolicies: ['Nobody'] }],
      }),
    ).rejects.toThrow("0 managed policies of the templates begin with 'Nobody'.");
  });
});
