import { createHash } from 'node:crypto';
import { isJsonObject, type Json, type JsonObject } from '../json.ts';
import { accountId, region } from '../principals.ts';

/** What others see of a resource: what Ref gives, and what Fn::GetAtt can ask for. */
export interface ResourceIdentity {
  readonly name: string;
  readonly arn: string | undefined;
  readonly ref: string;
  readonly attributes: Readonly<Record<string, Json>>;
}

/** A type that the local cloud knows: how its resources are called, and whether anything has to run for them. */
interface KnownType {
  /** Its properties are read and somebody makes it; otherwise only its name matters, to those who refer to it. */
  readonly made: boolean;
  readonly identify: (declared: Declared) => ResourceIdentity;
}

interface Declared {
  readonly stackName: string;
  readonly logicalId: string;
  /** A property, resolved. */
  readonly property: (name: string) => Json | undefined;
}

const hashOf = (stackName: string, logicalId: string): string =>
  createHash('sha256').update(`${stackName}/${logicalId}`).digest('hex');

/** A physical name: the one the template gives, or one that follows from the logical id. */
const nameOf = (
  { stackName, logicalId, property }: Declared,
  nameProperty: string | undefined,
  longest: number,
): string => {
  const given = nameProperty === undefined ? undefined : property(nameProperty);
  if (typeof given === 'string') {
    return given;
  }
  const name = `${stackName}-${logicalId}`;
  return name.length <= longest ? name : `${name.slice(0, longest - 9)}-${hashOf(stackName, logicalId).slice(0, 8)}`;
};

interface Shape {
  readonly nameProperty?: string;
  readonly longest?: number;
  readonly lowerCase?: boolean;
  readonly arn?: (name: string, declared: Declared) => string;
  readonly ref?: 'name' | 'arn';
  readonly attributes?: (name: string, arn: string | undefined, declared: Declared) => Record<string, Json>;
}

const identify =
  ({ nameProperty, longest = 128, lowerCase = false, arn, ref = 'name', attributes }: Shape) =>
  (declared: Declared): ResourceIdentity => {
    const given = nameOf(declared, nameProperty, longest);
    const name = lowerCase ? given.toLowerCase() : given;
    const itsArn = arn?.(name, declared);
    return {
      name,
      arn: itsArn,
      ref: ref === 'arn' ? (itsArn as string) : name,
      attributes: {
        ...(itsArn === undefined ? {} : { Arn: itsArn }),
        ...attributes?.(name, itsArn, declared),
      },
    };
  };

const made = (shape: Shape): KnownType => ({ made: true, identify: identify(shape) });
/** Needs nothing locally: there is no IAM, no alarm, no log group; only references to it have to resolve. */
const nameOnly = (shape: Shape = {}): KnownType => ({ made: false, identify: identify(shape) });

const arnOf = (service: string, resource: string) => `arn:aws:${service}:${region}:${accountId}:${resource}`;

/** Key ids are UUIDs; this one follows from the logical id. */
const keyId = ({ stackName, logicalId }: Declared): string =>
  hashOf(stackName, logicalId).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, '$1-$2-$3-$4-$5');

const kmsKey: KnownType = {
  made: true,
  identify: (declared) => {
    const id =
      declared.property('MultiRegion') === true ? `mrk-${keyId(declared).replaceAll('-', '')}` : keyId(declared);
    const arn = arnOf('kms', `key/${id}`);
    return { name: id, arn, ref: id, attributes: { Arn: arn, KeyId: id } };
  },
};

const iam = (kind: string, nameProperty: string): KnownType =>
  nameOnly({
    nameProperty,
    longest: 64,
    arn: (name) => `arn:aws:iam::${accountId}:${kind}/${name}`,
    attributes: (name) => ({ RoleId: `AROA${name}` }),
  });

const knownTypes: Readonly<Record<string, KnownType>> = {
  'AWS::Lambda::Function': made({
    nameProperty: 'FunctionName',
    longest: 64,
    arn: (name) => arnOf('lambda', `function:${name}`),
  }),
  'AWS::Lambda::EventInvokeConfig': made({}),
  'AWS::StepFunctions::StateMachine': made({
    nameProperty: 'StateMachineName',
    longest: 80,
    ref: 'arn',
    arn: (name) => arnOf('states', `stateMachine:${name}`),
    attributes: (name) => ({ Name: name }),
  }),
  'AWS::Events::Rule': made({ nameProperty: 'Name', longest: 64, arn: (name) => arnOf('events', `rule/${name}`) }),
  'AWS::Scheduler::Schedule': made({
    nameProperty: 'Name',
    longest: 64,
    arn: (name, { property }) => arnOf('scheduler', `schedule/${String(property('GroupName') ?? 'default')}/${name}`),
  }),
  'AWS::Scheduler::ScheduleGroup': made({
    nameProperty: 'Name',
    longest: 64,
    arn: (name) => arnOf('scheduler', `schedule-group/${name}`),
  }),
  'AWS::S3::Bucket': made({
    nameProperty: 'BucketName',
    longest: 63,
    lowerCase: true,
    arn: (name) => `arn:aws:s3:::${name}`,
    attributes: (name) => ({
      DomainName: `${name}.s3.amazonaws.com`,
      RegionalDomainName: `${name}.s3.${region}.amazonaws.com`,
    }),
  }),
  'AWS::DynamoDB::Table': made({ nameProperty: 'TableName', arn: (name) => arnOf('dynamodb', `table/${name}`) }),
  'AWS::DynamoDB::GlobalTable': made({
    nameProperty: 'TableName',
    arn: (name) => arnOf('dynamodb', `table/${name}`),
    attributes: (name) => ({ TableId: name }),
  }),
  'AWS::KMS::Key': kmsKey,
  'AWS::KMS::ReplicaKey': kmsKey,
  'AWS::KMS::Alias': made({ nameProperty: 'AliasName', arn: (name) => arnOf('kms', name) }),
  'AWS::SSM::Parameter': made({
    nameProperty: 'Name',
    arn: (name) => arnOf('ssm', `parameter${name.startsWith('/') ? '' : '/'}${name}`),
    attributes: (_name, _arn, { property }) => ({ Value: property('Value') ?? '', Type: property('Type') ?? 'String' }),
  }),
  'AWS::SSM::Document': made({ nameProperty: 'Name', arn: (name) => arnOf('ssm', `document/${name}`) }),

  'AWS::IAM::Role': iam('role', 'RoleName'),
  'AWS::IAM::User': iam('user', 'UserName'),
  'AWS::IAM::Group': iam('group', 'GroupName'),
  'AWS::IAM::InstanceProfile': iam('instance-profile', 'InstanceProfileName'),
  'AWS::IAM::ManagedPolicy': nameOnly({
    nameProperty: 'ManagedPolicyName',
    ref: 'arn',
    arn: (name) => `arn:aws:iam::${accountId}:policy/${name}`,
  }),
  'AWS::IAM::Policy': nameOnly({ nameProperty: 'PolicyName' }),
  'AWS::Logs::LogGroup': nameOnly({
    nameProperty: 'LogGroupName',
    arn: (name) => arnOf('logs', `log-group:${name}:*`),
  }),
  'AWS::Logs::MetricFilter': nameOnly(),
  'AWS::Logs::ResourcePolicy': nameOnly(),
  'AWS::Logs::QueryDefinition': nameOnly(),
  'AWS::CloudWatch::Alarm': nameOnly({
    nameProperty: 'AlarmName',
    arn: (name) => arnOf('cloudwatch', `alarm:${name}`),
  }),
  'AWS::CloudWatch::CompositeAlarm': nameOnly({
    nameProperty: 'AlarmName',
    arn: (name) => arnOf('cloudwatch', `alarm:${name}`),
  }),
  'AWS::CloudWatch::Dashboard': nameOnly({ nameProperty: 'DashboardName' }),
  'AWS::SNS::Topic': nameOnly({
    nameProperty: 'TopicName',
    ref: 'arn',
    arn: (name) => arnOf('sns', name),
    attributes: (name, arn) => ({ TopicArn: arn ?? '', TopicName: name }),
  }),
  'AWS::SNS::TopicPolicy': nameOnly(),
  'AWS::SNS::Subscription': nameOnly(),
  'AWS::SQS::Queue': nameOnly({
    nameProperty: 'QueueName',
    longest: 80,
    arn: (name) => arnOf('sqs', name),
    attributes: (name) => ({ QueueName: name, QueueUrl: `https://sqs.${region}.amazonaws.com/${accountId}/${name}` }),
  }),
  'AWS::SQS::QueuePolicy': nameOnly(),
  'AWS::S3::BucketPolicy': nameOnly(),
  'AWS::Lambda::Permission': nameOnly(),
  'AWS::Events::EventBusPolicy': nameOnly(),
  'AWS::Budgets::Budget': nameOnly(),
  'AWS::ResourceGroups::Group': nameOnly({ nameProperty: 'Name' }),
  'AWS::CDK::Metadata': nameOnly(),
};

export class UnsupportedResource extends Error {
  override readonly name = 'UnsupportedResource';
}

/** The type's entry; throws UnsupportedResource for a type that is neither made nor known to need nothing. */
export const knownType = (type: string, place: string): KnownType => {
  const known = Object.hasOwn(knownTypes, type) ? knownTypes[type] : undefined;
  if (known === undefined) {
    throw new UnsupportedResource(
      `${place} is of type ${type}, which the local cloud neither makes nor knows to need nothing.`,
    );
  }
  return known;
};

/** An attribute by its dotted name; undefined when the local cloud does not know it. */
export const attributeOf = ({ attributes }: ResourceIdentity, name: string): Json | undefined => {
  if (Object.hasOwn(attributes, name)) {
    return attributes[name];
  }
  return name
    .split('.')
    .reduce<Json | undefined>(
      (value, part) => (value !== undefined && isJsonObject(value) ? value[part] : undefined),
      attributes as JsonObject,
    );
};
