import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { SFNClient, StartExecutionCommand } from '@aws-sdk/client-sfn';
import * as cdk from 'aws-cdk-lib';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as scheduler from 'aws-cdk-lib/aws-scheduler';
import * as schedulerTargets from 'aws-cdk-lib/aws-scheduler-targets';
import * as sns from 'aws-cdk-lib/aws-sns';
import * as stepfunctions from 'aws-cdk-lib/aws-stepfunctions';
import * as tasks from 'aws-cdk-lib/aws-stepfunctions-tasks';
import { describe, expect, test } from 'vitest';
import { startCloud } from '#local/cloud/start-cloud.ts';
import { policiesOfRoles } from '#local/cloud/template/policies-of-roles.ts';
import { readAssembly } from '#local/cloud/template/read-assembly.ts';
import { resolveAssembly } from '#local/cloud/template/resolve-assembly.ts';
import { clientOptions, eventually, temporaryDirectory, writeAssembly } from './template-fixture.ts';

/** Two stacks that refer to each other, as the product's do: what is retained, and what is disposable. */
const synthesize = (directory: string): string => {
  const app = new cdk.App({ outdir: join(directory, 'cdk.out') });
  const retained = new cdk.Stack(app, 'Retained');
  const key = new kms.Key(retained, 'Key', { alias: 'redoubt' });
  const table = new dynamodb.TableV2(retained, 'Catalog', {
    partitionKey: { name: 'pk', type: dynamodb.AttributeType.STRING },
  });
  const disposable = new cdk.Stack(app, 'Disposable');
  const code = writeAssembly(join(directory, 'code'), [], {
    echo: {
      'index.js': 'exports.handler = async (event) => ({ event, table: process.env.TABLE, key: process.env.KEY });',
    },
  });
  const echo = new lambda.Function(disposable, 'Echo', {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    code: lambda.Code.fromAsset(join(code, 'asset.echo')),
    environment: { TABLE: table.tableName, KEY: key.keyArn },
    timeout: cdk.Duration.seconds(7),
  });
  table.grantReadWriteData(echo);
  key.grantDecrypt(echo);
  new sns.Topic(disposable, 'Announcements');
  const machine = new stepfunctions.StateMachine(disposable, 'Machine', {
    queryLanguage: stepfunctions.QueryLanguage.JSONATA,
    definitionBody: stepfunctions.DefinitionBody.fromChainable(
      tasks.LambdaInvoke.jsonata(disposable, 'Echo it', {
        lambdaFunction: echo,
        payload: stepfunctions.TaskInput.fromObject({ said: '{% $states.input.say %}' }),
        outputs: '{% $states.result.Payload %}',
      }).addRetry({ errors: ['Lambda.ServiceException'], maxAttempts: 1, maxDelay: cdk.Duration.seconds(1) }),
    ),
    timeout: cdk.Duration.minutes(1),
  });
  new events.Rule(disposable, 'Ended', {
    eventPattern: {
      source: ['aws.states'],
      detail: { stateMachineArn: [machine.stateMachineArn], status: ['SUCCEEDED'] },
    },
    targets: [
      new targets.LambdaFunction(echo, {
        event: events.RuleTargetInput.fromObject({ ended: events.EventField.fromPath('$.detail.name') }),
      }),
    ],
  });
  new scheduler.Schedule(disposable, 'Nightly', {
    schedule: scheduler.ScheduleExpression.cron({ hour: '3', minute: '0' }),
    target: new schedulerTargets.StepFunctionsStartExecution(machine, {
      input: scheduler.ScheduleTargetInput.fromObject({ say: 'nightly' }),
    }),
  });
  new cdk.CfnOutput(disposable, 'MachineArn', { value: machine.stateMachineArn });
  app.synth();
  return app.outdir;
};

describe('what CDK synthesizes', () => {
  test('runs as it is: stacks, assets, workflow, rule and schedule', { timeout: 60_000 }, async () => {
    await using directory = temporaryDirectory();
    const made: string[] = [];
    const make = ({ type, name }: { type: string; name: string }) => {
      made.push(`${type} ${name}`);
    };
    const cloud = await startCloud({
      cdkOut: synthesize(directory.path),
      stateDirectory: join(directory.path, 'state'),
      services: [
        () => ({
          service: { signingName: 'kms', origin: 'http://127.0.0.1:9' },
          makes: { 'AWS::KMS::Key': make, 'AWS::KMS::Alias': make, 'AWS::DynamoDB::GlobalTable': make },
        }),
      ],
    });
    await using _cloud = { [Symbol.asyncDispose]: () => cloud.close() };
    expect(made.map((one) => one.split(' ')[0])).toEqual([
      'AWS::KMS::Key',
      'AWS::KMS::Alias',
      'AWS::DynamoDB::GlobalTable',
    ]);

    const table = cloud.find('AWS::DynamoDB::GlobalTable').name;
    const key = cloud.find('AWS::KMS::Key').arn;
    const invoked = await new LambdaClient(clientOptions(cloud)).send(
      new InvokeCommand({ FunctionName: cloud.find('AWS::Lambda::Function').name, Payload: '{"a":1}' }),
    );
    expect(JSON.parse(invoked.Payload?.transformToString() ?? '')).toEqual({ event: { a: 1 }, table, key });

    const stateMachineArn = String(cloud.outputs.Disposable?.MachineArn);
    const sfn = new SFNClient(clientOptions(cloud));
    await sfn.send(new StartExecutionCommand({ stateMachineArn, name: 'one', input: '{"say":"hello"}' }));
    const log = await eventually(() => {
      const text = readFileSync(join(cloud.logDirectory, 'events.jsonl'), 'utf8');
      return text.includes('"status":"SUCCEEDED"') ? text : undefined;
    });
    const event = log.split('\n').find((line) => line.includes('"status":"SUCCEEDED"')) ?? '';
    expect(JSON.parse(event).rules).toEqual([cloud.find('AWS::Events::Rule').name]);
    expect(JSON.parse(JSON.parse(event).event.detail.output)).toMatchObject({ event: { said: 'hello' } });
  });

  test('gives roles the statements of their policies, with ARNs filled in', { timeout: 60_000 }, async () => {
    await using directory = temporaryDirectory();
    const { policies, resources } = resolveAssembly(readAssembly(synthesize(directory.path)));
    const echo = resources.find(({ type }) => type === 'AWS::Lambda::Function');
    const key = resources.find(({ type }) => type === 'AWS::KMS::Key');
    expect(policiesOfRoles(policies).get(String(echo?.properties.Role))).toContainEqual({
      Action: 'kms:Decrypt',
      Effect: 'Allow',
      Resource: key?.arn,
    });
  });

  test('has the same names each time', { timeout: 60_000 }, async () => {
    await using one = temporaryDirectory();
    await using other = temporaryDirectory();
    const arns = (path: string) => resolveAssembly(readAssembly(synthesize(path))).resources.map(({ arn }) => arn);
    expect(arns(one.path)).toEqual(arns(other.path));
  });
});

describe('resolving a template', () => {
  const resolve = async (
    template: object,
    parameters: Record<string, string> = {},
    others: Record<string, object> = {},
  ) => {
    await using directory = temporaryDirectory();
    const stacks = Object.entries({ main: template, ...others }).map(([name, one]) => ({ name, template: one }));
    return resolveAssembly(readAssembly(writeAssembly(join(directory.path, 'cdk.out'), stacks)), parameters);
  };
  const value = async (expression: unknown, more: object = {}, parameters: Record<string, string> = {}) =>
    (await resolve({ ...more, Outputs: { It: { Value: expression } } }, parameters)).outputs.main?.It;
  // biome-ignore lint/suspicious/noTemplateCurlyInString: CloudFormation's own placeholder.
  const bucket = { Type: 'AWS::S3::Bucket', Properties: { BucketName: { 'Fn::Sub': 'redoubt-${AWS::AccountId}' } } };

  test.each([
    [{ Ref: 'AWS::Region' }, 'us-east-1'],
    [{ Ref: 'Bucket' }, 'redoubt-000000000000'],
    [{ 'Fn::GetAtt': ['Bucket', 'Arn'] }, 'arn:aws:s3:::redoubt-000000000000'],
    [{ 'Fn::Join': ['-', ['a', { Ref: 'AWS::Partition' }, 1]] }, 'a-aws-1'],
    [
      // biome-ignore lint/suspicious/noTemplateCurlyInString: CloudFormation's own placeholders.
      { 'Fn::Sub': ['${Bucket.Arn}/${key}/${!literal}', { key: 'k' }] },
      // biome-ignore lint/suspicious/noTemplateCurlyInString: what is literal stays as it is.
      'arn:aws:s3:::redoubt-000000000000/k/${literal}',
    ],
    [{ 'Fn::Select': [1, { 'Fn::Split': ['/', 'a/b'] }] }, 'b'],
    [{ 'Fn::If': ['Big', 'big', 'small'] }, 'small'],
    [{ 'Fn::FindInMap': ['Sizes', { Ref: 'AWS::Region' }, 'host'] }, 'large'],
    [{ a: { Ref: 'AWS::NoValue' }, b: [{ Ref: 'AWS::NoValue' }, 1] }, { b: [1] }],
    [{ Ref: 'Kind' }, 'small'],
  ])('%j is %j', async (expression, expected) => {
    const found = await value(expression, {
      Parameters: { Kind: { Type: 'String', Default: 'small' } },
      Conditions: {
        Big: { 'Fn::And': [{ 'Fn::Not': [{ 'Fn::Equals': [{ Ref: 'Kind' }, 'small'] }] }, { Condition: 'Yes' }] },
        Yes: { 'Fn::Equals': [1, '1'] },
      },
      Mappings: { Sizes: { 'us-east-1': { host: 'large' } } },
      Resources: { Bucket: bucket },
    });
    expect(found).toEqual(expected);
  });

  test('takes a given parameter before the default, and asks for one that has neither', async () => {
    const more = { Parameters: { Kind: { Type: 'String', Default: 'small' }, Other: { Type: 'String' } } };
    expect(await value({ Ref: 'Kind' }, more, { Kind: 'big' })).toBe('big');
    await expect(value({ Ref: 'Other' }, more)).rejects.toThrow('the parameter Other has no value and no default');
  });

  test('a stack sees what another one exports', async () => {
    const { outputs } = await resolve(
      { Outputs: { It: { Value: { 'Fn::ImportValue': 'the-bucket' } } } },
      {},
      {
        other: {
          Resources: { Bucket: bucket },
          Outputs: { Name: { Value: { Ref: 'Bucket' }, Export: { Name: 'the-bucket' } } },
        },
      },
    );
    expect(outputs.main?.It).toBe('redoubt-000000000000');
  });

  test('leaves out resources whose condition does not hold', async () => {
    const { resources } = await resolve({
      Conditions: { Never: { 'Fn::Equals': ['a', 'b'] } },
      Resources: { Bucket: { ...bucket, Condition: 'Never' } },
    });
    expect(resources).toEqual([]);
  });

  test.each([
    [
      'an unknown type',
      { Resources: { Fleet: { Type: 'AWS::ECS::Cluster' } } },
      'main/Fleet is of type AWS::ECS::Cluster',
    ],
    [
      'an unknown intrinsic',
      { Outputs: { It: { Value: { 'Fn::Cidr': [] } } } },
      'main/Outputs.It: the intrinsic function Fn::Cidr',
    ],
    [
      'an unknown attribute',
      { Resources: { Bucket: bucket }, Outputs: { It: { Value: { 'Fn::GetAtt': ['Bucket', 'Nope'] } } } },
      'Bucket.Nope',
    ],
    [
      'a reference that leads nowhere',
      { Outputs: { It: { Value: { Ref: 'Nobody' } } } },
      'there is no resource Nobody',
    ],
    ['a missing export', { Outputs: { It: { Value: { 'Fn::ImportValue': 'x' } } } }, 'no stack exports x'],
    ['a dynamic reference', { Outputs: { It: { Value: '{{resolve:ssm:/a}}' } } }, 'the dynamic reference'],
    [
      'a name that depends on itself',
      { Resources: { A: { Type: 'AWS::S3::Bucket', Properties: { BucketName: { Ref: 'A' } } } } },
      'depends on itself',
    ],
  ])('%s is an error that says where', async (_what, template, message) => {
    await expect(resolve(template)).rejects.toThrow(message);
  });

  test('a type that no service of the cloud makes is an error before anything is made', async () => {
    await using directory = temporaryDirectory();
    const cdkOut = writeAssembly(join(directory.path, 'cdk.out'), [
      { name: 'main', template: { Resources: { Bucket: bucket } } },
    ]);
    await expect(startCloud({ cdkOut, stateDirectory: join(directory.path, 'state'), services: [] })).rejects.toThrow(
      'main/Bucket is of type AWS::S3::Bucket, which no service of this cloud makes.',
    );
  });

  test('lists the assets that are single files, and no template', async () => {
    await using directory = temporaryDirectory();
    const cdkOut = writeAssembly(join(directory.path, 'cdk.out'), [{ name: 'main', template: {} }]);
    const file = (path: string, packaging: string) => ({
      source: { path, packaging },
      destinations: { here: { bucketName: 'assets', objectKey: `key of ${path}` } },
    });
    const files = { a: file('agent', 'file'), b: file('code', 'zip'), c: file('main.template.json', 'file') };
    writeFileSync(join(cdkOut, 'app.assets.json'), JSON.stringify({ files }));
    expect(readAssembly(cdkOut).fileAssets).toEqual([
      { path: join(cdkOut, 'agent'), bucket: 'assets', objectKey: 'key of agent' },
    ]);
  });

  test('a folder that is no assembly says to synthesize first', () => {
    expect(() => readAssembly('/nowhere')).toThrow('Run cdk synth first.');
  });
});
