import { join } from 'node:path';
import { startDynamoDb } from './dynamodb/start-dynamodb.ts';
import { isJsonObject, type Json } from './json.ts';
import { createKms } from './kms/kms.ts';
import type { Statement } from './kms/statements.ts';
import type { MakeResource } from './make-resources.ts';
import { type S3, startS3 } from './s3/start-s3.ts';
import { createSsm, type Ssm } from './ssm/ssm.ts';
import type { CloudContext, CloudPart, CreatePart } from './start-cloud.ts';

const text = (value: Json | undefined, standard = ''): string => (typeof value === 'string' ? value : standard);

/** The keys of the templates and their aliases, under the ids that the templates' references resolve to. */
export const kmsPart: CreatePart = ({ stateDirectory, logDirectory, statementsOf, resources }) => {
  const kms = createKms({ stateDirectory: join(stateDirectory, 'kms'), logDirectory, policies: statementsOf });
  const aliases = resources.filter(({ type }) => type === 'AWS::KMS::Alias');
  return {
    service: kms,
    makes: {
      'AWS::KMS::Key': ({ name, arn, properties }) => {
        const policy = properties.KeyPolicy;
        const statements = policy !== undefined && isJsonObject(policy) ? policy.Statement : undefined;
        const alias = aliases.find(({ properties: { TargetKeyId: target } }) => target === arn || target === name);
        kms.ensureKey({
          keyId: name,
          alias: alias?.name ?? `alias/${name}`,
          description: text(properties.Description),
          multiRegion: properties.MultiRegion === true,
          enableRotation: properties.EnableKeyRotation === true,
          ...(Array.isArray(statements) ? { policy: statements as unknown as readonly Statement[] } : {}),
        });
      },
      // Made with its key: one alias a key.
      'AWS::KMS::Alias': () => undefined,
    },
  };
};

/** The buckets of the templates. Their bucket policies and the roles' statements decide who may what. */
export const s3Part =
  (onStarted: (s3: S3) => void = () => undefined): CreatePart =>
  async ({ stateDirectory, resources, allowsS3 }) => {
    const buckets = resources.filter(({ type }) => type === 'AWS::S3::Bucket').map(({ name }) => name);
    const s3 = await startS3({ stateDirectory: join(stateDirectory, 's3'), buckets, allows: allowsS3 });
    onStarted(s3);
    return { service: s3, makes: { 'AWS::S3::Bucket': () => undefined }, close: () => s3.close() };
  };

/** The tables of the templates, in DynamoDB Local. */
export const dynamoDbPart: CreatePart = async ({ stateDirectory }) => {
  const dynamoDb = await startDynamoDb({ stateDirectory: join(stateDirectory, 'dynamodb') });
  const make: MakeResource = ({ name, properties }) => dynamoDb.ensureTable(name, properties);
  return {
    service: dynamoDb,
    makes: { 'AWS::DynamoDB::Table': make, 'AWS::DynamoDB::GlobalTable': make },
    close: () => dynamoDb.close(),
  };
};

/** Documents and parameters of the templates; hosts are registered with the service that is handed to `onStarted`. */
export const ssmPart =
  (onStarted: (ssm: Ssm) => void = () => undefined): CreatePart =>
  ({ stateDirectory, logDirectory, emit, principals, endpoint }: CloudContext): CloudPart => {
    const ssm = createSsm({ stateDirectory: join(stateDirectory, 'ssm'), logDirectory, emit, principals, endpoint });
    onStarted(ssm);
    return {
      service: ssm,
      makes: {
        'AWS::SSM::Parameter': ({ name, properties }) =>
          ssm.ensureParameter(name, text(properties.Type, 'String'), text(properties.Value)),
        'AWS::SSM::Document': ({ name, properties }) => {
          const { Content: content } = properties;
          ssm.ensureDocument({
            name,
            type: text(properties.DocumentType, 'Command'),
            content: typeof content === 'string' ? content : JSON.stringify(content ?? {}),
            format: text(properties.DocumentFormat, 'JSON'),
          });
        },
      },
      close: () => ssm.close(),
    };
  };
