import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import {
  CancelCommandCommand,
  CreateDocumentCommand,
  DescribeAutomationExecutionsCommand,
  DescribeDocumentCommand,
  DescribeInstanceInformationCommand,
  GetAutomationExecutionCommand,
  GetCommandInvocationCommand,
  GetParameterCommand,
  GetParametersByPathCommand,
  ListCommandInvocationsCommand,
  ListCommandsCommand,
  PutParameterCommand,
  SendCommandCommand,
  SSMClient,
  StartAutomationExecutionCommand,
  StopAutomationExecutionCommand,
} from '@aws-sdk/client-ssm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AwsEvent } from '#local/cloud/events/event-bus.ts';
import { Principals } from '#local/cloud/principals.ts';
import { startRouter } from '#local/cloud/router.ts';
import { startS3 } from '#local/cloud/s3/start-s3.ts';
import { AwsError, awsJson } from '#local/cloud/service.ts';
import { createSsm, type Ssm } from '#local/cloud/ssm/ssm.ts';
import { serveForTest } from './kms-ssm-endpoint.ts';

const directory = mkdtempSync(join(tmpdir(), 'ssm-'));
const principals = new Principals();
const hostRole = 'arn:aws:iam::000000000000:role/host';
const automationRole = 'arn:aws:iam::000000000000:role/automation';
const host = 'i-0123456789abcdef0';
const events: AwsEvent[] = [];
let ssm: Ssm;
let client: SSMClient;
let endpoint: Awaited<ReturnType<typeof serveForTest>>;

/** A state machine that says what it was asked; `slow` runs until it is stopped, `broken` fails. */
const executions = new Map<string, { status: string; input: string; caller: string }>();
const states = awsJson('states', {
  async StartExecution({ stateMachineArn, input, name = 'unnamed' }, caller) {
    if (!stateMachineArn.includes(':stateMachine:')) throw new AwsError('InvalidArn', stateMachineArn);
    const status = name === 'slow' ? 'RUNNING' : name === 'broken' ? 'FAILED' : 'SUCCEEDED';
    executions.set(name, { status, input, caller });
    return { executionArn: `arn:execution:${name}`, startDate: 1 };
  },
  async DescribeExecution({ executionArn }) {
    const name = executionArn.split(':').at(-1);
    const { status, input } = executions.get(name) ?? { status: 'ABORTED', input: '' };
    const output = JSON.stringify({ asked: JSON.parse(input) });
    return {
      executionArn,
      name,
      status,
      input,
      startDate: 1,
      ...(status === 'SUCCEEDED' ? { output, stopDate: 2 } : {}),
    };
  },
  async StopExecution({ executionArn }) {
    const execution = executions.get(executionArn.split(':').at(-1));
    if (execution !== undefined) execution.status = 'ABORTED';
    return { stopDate: 3 };
  },
});

beforeAll(async () => {
  ssm = createSsm({
    stateDirectory: join(directory, 'state'),
    logDirectory: join(directory, 'log'),
    emit: (event) => events.push(event),
    principals,
    endpoint: () => endpoint.url,
    millisecondsPerSecond: 50,
  });
  endpoint = await serveForTest([ssm, states], principals);
  client = new SSMClient({
    region: 'us-east-1',
    endpoint: endpoint.url,
    credentials: principals.credentialsFor('arn:aws:iam::000000000000:root'),
    maxAttempts: 1,
  });
  ssm.register({
    instanceId: host,
    roleArn: hostRole,
    directory: join(directory, 'host'),
    environment: { MYSQL_HOME: '/srv/mysql' },
    online: true,
  });
});

afterAll(async () => {
  await ssm.close();
  client.destroy();
  await endpoint.close();
  rmSync(directory, { recursive: true });
});

let documents = 0;
const documentWith = async (steps: object[], parameters: object = {}) => {
  const Name = `Test-${documents++}`;
  const Content = JSON.stringify({ schemaVersion: '2.2', description: 'A test.', parameters, mainSteps: steps });
  await client.send(new CreateDocumentCommand({ Name, Content, DocumentType: 'Command' }));
  return Name;
};
const script = (runCommand: string | string[], inputs: object = {}) => ({
  action: 'aws:runShellScript',
  name: 'run',
  inputs: { runCommand: [runCommand].flat(), ...inputs },
});
const send = async (DocumentName: string, Parameters: Record<string, string[]> = {}, more: object = {}) =>
  (await client.send(new SendCommandCommand({ DocumentName, Parameters, InstanceIds: [host], ...more }))).Command
    ?.CommandId;
const invocation = (CommandId: string | undefined, InstanceId = host, PluginName?: string) =>
  client.send(new GetCommandInvocationCommand({ CommandId, InstanceId, PluginName }));
const whenEnded = async (commandId: string | undefined, instanceId = host) => {
  await expect
    .poll(async () => (await invocation(commandId, instanceId)).Status, { timeout: 20_000 })
    .not.toMatch(/Pending|InProgress|Cancelling/);
  return invocation(commandId, instanceId);
};
const run = async (steps: object[], declared: object = {}, values: Record<string, string[]> = {}) =>
  whenEnded(await send(await documentWith(steps, declared), values));
const eventsOf = (commandId: string | undefined, type: string) =>
  events
    .filter(({ detailType, detail }) => detailType === type && detail['command-id'] === commandId)
    .map(({ detail }) => detail.status);

describe('Run Command', () => {
  test('a script runs with its parameters put in; its outputs, exit code and times come back', async () => {
    const ended = await run(
      [script(['echo "hello {{ who }}"', 'echo "careful" >&2'])],
      { who: { type: 'String' } },
      { who: ['world'] },
    );
    expect(ended).toMatchObject({
      Status: 'Success',
      StatusDetails: 'Success',
      ResponseCode: 0,
      StandardOutputContent: 'hello world\n',
      StandardErrorContent: 'careful\n',
      PluginName: 'aws:runShellScript',
    });
  });

  test("a script's environment is its host's, the keys of its role, and nothing of this process", async () => {
    process.env.LEAKED = 'yes';
    const { StandardOutputContent = '' } = await run([script('env | sort')]);
    delete process.env.LEAKED;
    const lines = StandardOutputContent.trim().split('\n');
    const names = lines
      .map((line) => line.split('=')[0])
      .filter((name) => !['PWD', 'SHLVL', '_', 'OLDPWD'].includes(name ?? ''));
    expect(names).toEqual([
      'AWS_ACCESS_KEY_ID',
      'AWS_ENDPOINT_URL',
      'AWS_REGION',
      'AWS_SECRET_ACCESS_KEY',
      'AWS_SSM_INSTANCE_ID',
      'AWS_SSM_REGION_NAME',
      'MYSQL_HOME',
      'PATH',
    ]);
    expect(lines).toContain(`AWS_ACCESS_KEY_ID=${principals.credentialsFor(hostRole).accessKeyId}`);
    expect(lines).toContain(`AWS_ENDPOINT_URL=${endpoint.url}`);
  });

  test('a value that goes by ENV_VAR is data, whatever it says', async () => {
    const nasty = `"; touch ${join(directory, 'injected')}; echo $(id) 'x`;
    const ended = await run(
      [script('printf %s "$SSM_Message"')],
      { Message: { type: 'String', interpolationType: 'ENV_VAR' } },
      { Message: [nasty] },
    );
    expect(ended.StandardOutputContent).toBe(nasty);
    expect(existsSync(join(directory, 'injected'))).toBe(false);
  });

  test('a bash script runs under bash', async () => {
    expect((await run([script(['#!/bin/bash', '[[ yes == y* ]] && echo bash'])])).StandardOutputContent).toBe('bash\n');
  });

  test('a failing script is Failed with its exit code, and stderr ends as the SSM agent ends it', async () => {
    expect(await run([script('/nowhere/agent')])).toMatchObject({
      Status: 'Failed',
      ResponseCode: 127,
      StandardErrorContent: expect.stringMatching(/not found\n\nfailed to run commands: exit status 127$/),
    });
  });

  test('stdout shows 24,000 characters and says that it was cut', async () => {
    const { StandardOutputContent = '' } = await run([script('head -c 30000 /dev/zero | tr "\\0" x')]);
    expect([StandardOutputContent.length, StandardOutputContent.endsWith('x--output truncated--')]).toEqual([
      24_000,
      true,
    ]);
  });

  test('a script that runs too long is killed with all its children, and TimedOut', async () => {
    const pidFile = join(directory, 'child.pid');
    const ended = await run([
      script([`sleep 60 & echo $! > ${pidFile}`, 'echo started', 'wait'], { timeoutSeconds: '5' }),
    ]);
    expect(ended).toMatchObject({
      Status: 'TimedOut',
      StatusDetails: 'ExecutionTimedOut',
      ResponseCode: 137,
      StandardOutputContent: 'started\n',
    });
    const child = Number(readFileSync(pidFile, 'utf8'));
    await expect
      .poll(() => existsSync(`/proc/${child}/stat`) && !readFileSync(`/proc/${child}/stat`, 'utf8').includes(') Z '))
      .toBe(false);
  });

  test('a cancelled command is killed without a chance to resist', async () => {
    const ready = join(directory, 'ready');
    const id = await send(await documentWith([script(["trap '' TERM", `touch ${ready}`, 'sleep 60'])]));
    await expect.poll(() => existsSync(ready)).toBe(true);
    await client.send(new CancelCommandCommand({ CommandId: id }));
    expect(await whenEnded(id)).toMatchObject({ Status: 'Cancelled', ResponseCode: 137 });
    expect(eventsOf(id, 'EC2 Command Invocation Status-change Notification')).toEqual(['InProgress', 'Cancelled']);
  });

  test.each([
    ['true', ['InProgress', 'Success']],
    ['exit 3', ['InProgress', 'Failed']],
  ])('the status changes of `%s` are events, of the invocation and of the command', async (line, expected) => {
    const id = await send(await documentWith([script(line)]));
    await whenEnded(id);
    expect(eventsOf(id, 'EC2 Command Invocation Status-change Notification')).toEqual(expected);
    expect(eventsOf(id, 'EC2 Command Status-change Notification')).toEqual(expected);
    const first = events.find(({ detail }) => detail['command-id'] === id);
    expect(first).toMatchObject({
      source: 'aws.ssm',
      resources: [`arn:aws:ec2:us-east-1:000000000000:instance/${host}`],
      detail: { 'instance-id': host, 'document-name': expect.any(String), 'requested-date-time': expect.any(String) },
    });
  });

  test('an instance that is unknown or stopped is refused; one that lost its connection lets the command expire', async () => {
    const document = await documentWith([script('true')]);
    const common = { roleArn: hostRole, directory, environment: {} };
    ssm.register({ ...common, instanceId: 'i-00000001', online: false });
    ssm.register({ ...common, instanceId: 'i-00000002', online: 'ConnectionLost' });
    for (const id of ['i-00000009', 'i-00000001']) {
      await expect(send(document, {}, { InstanceIds: [id] })).rejects.toMatchObject({ name: 'InvalidInstanceId' });
    }
    const id = await send(document, {}, { InstanceIds: ['i-00000002'], TimeoutSeconds: 30 });
    expect(await whenEnded(id, 'i-00000002')).toMatchObject({
      Status: 'TimedOut',
      StatusDetails: 'DeliveryTimedOut',
      ResponseCode: -1,
    });
    const { InstanceInformationList } = await client.send(new DescribeInstanceInformationCommand({}));
    expect(InstanceInformationList?.map(({ InstanceId, PingStatus }) => [InstanceId, PingStatus])).toEqual([
      [host, 'Online'],
      ['i-00000001', 'Inactive'],
      ['i-00000002', 'ConnectionLost'],
    ]);
  });

  test.each([
    ['is not allowed', { kind: ['other'] }],
    ['does not match', { kind: ['full'], bucket: ['bad bucket; rm'] }],
    ['is too long', { kind: ['full'], bucket: ['b'.repeat(20)] }],
    ['is unknown', { kind: ['full'], more: ['x'] }],
    ['is missing', {}],
    ['is a list', { kind: ['full', 'full'] }],
  ])('a parameter that %s is InvalidParameters, and nothing runs', async (_, values) => {
    const document = await documentWith([script(`touch ${join(directory, 'ran')}`)], {
      kind: { type: 'String', allowedValues: ['full'] },
      bucket: { type: 'String', allowedPattern: '^[a-z]+$', maxChars: 10, default: 'backups' },
    });
    await expect(send(document, values as unknown as Record<string, string[]>)).rejects.toMatchObject({
      name: 'InvalidParameters',
    });
    expect(existsSync(join(directory, 'ran'))).toBe(false);
  });

  test('a document is pinned by its version and its hash', async () => {
    const document = await documentWith([script('true')]);
    const { Document } = await client.send(new DescribeDocumentCommand({ Name: document }));
    expect(Document).toMatchObject({ DocumentVersion: '1', SchemaVersion: '2.2', HashType: 'Sha256' });
    await send(document, {}, { DocumentVersion: '1', DocumentHash: Document?.Hash, DocumentHashType: 'Sha256' });
    await expect(send(document, {}, { DocumentHash: '0'.repeat(64) })).rejects.toMatchObject({
      name: 'InvalidDocument',
    });
    await expect(send(document, {}, { DocumentVersion: '2' })).rejects.toMatchObject({
      name: 'InvalidDocumentVersion',
    });
    await expect(send('Nobody-Wrote-It')).rejects.toMatchObject({ name: 'InvalidDocument' });
  });

  test('steps run in order: those for another platform are skipped, a failed one stops the rest if it says so', async () => {
    const step = (name: string, line: string, more: object = {}) => ({ ...script(line), name, ...more });
    const document = await documentWith([
      step('windows', 'echo windows', { precondition: { StringEquals: ['platformType', 'Windows'] } }),
      step('linux', 'echo linux; exit 4', {
        precondition: { StringEquals: ['platformType', 'Linux'] },
        inputs: { runCommand: ['echo linux; exit 4'], onFailure: 'exit' },
      }),
      step('never', `touch ${join(directory, 'never')}`),
    ]);
    const id = await send(document);
    await expect
      .poll(async () => (await client.send(new ListCommandsCommand({ CommandId: id }))).Commands?.[0]?.Status)
      .toBe('Failed');
    await expect(invocation(id)).rejects.toMatchObject({ name: 'InvalidPluginName' });
    expect((await invocation(id, host, 'linux')).ResponseCode).toBe(4);
    const { CommandInvocations } = await client.send(
      new ListCommandInvocationsCommand({ CommandId: id, Details: true }),
    );
    expect(CommandInvocations?.[0]?.CommandPlugins?.map(({ Name, StatusDetails }) => [Name, StatusDetails])).toEqual([
      ['windows', 'Skipped'],
      ['linux', 'Failed'],
      ['never', 'NotRun'],
    ]);
    expect(existsSync(join(directory, 'never'))).toBe(false);
  });

  test('AWS-RunShellScript is there, as everywhere', async () => {
    const id = await send('AWS-RunShellScript', { commands: ['echo one', 'echo two'] });
    expect((await whenEnded(id)).StandardOutputContent).toBe('one\ntwo\n');
  });

  test('content is downloaded from S3 as the host, and the next step finds it', async () => {
    const s3 = await startS3({ stateDirectory: join(directory, 's3'), buckets: ['tools'] });
    const options = { emit: () => {}, principals, endpoint: () => router.endpoint };
    const own = createSsm({ ...options, stateDirectory: join(directory, 'own'), logDirectory: join(directory, 'own') });
    const router = await startRouter({ services: [own, s3], principals });
    const common = { region: 'us-east-1', endpoint: router.endpoint, credentials: principals.credentialsFor(hostRole) };
    const [objects, commands] = [new S3Client(common), new SSMClient(common)];
    own.register({
      instanceId: host,
      roleArn: hostRole,
      directory: join(directory, 'own'),
      environment: {},
      online: true,
    });
    const path = 'https://tools.s3.us-east-1.amazonaws.com/agent/install.sh';
    const mainSteps = [
      {
        action: 'aws:downloadContent',
        name: 'get',
        inputs: { sourceType: 'S3', sourceInfo: JSON.stringify({ path }) },
      },
      script('sh ./install.sh'),
    ];
    try {
      await objects.send(new PutObjectCommand({ Bucket: 'tools', Key: 'agent/install.sh', Body: 'echo installed' }));
      own.ensureDocument({
        name: 'Get',
        type: 'Command',
        content: JSON.stringify({ schemaVersion: '2.2', mainSteps }),
      });
      const { Command } = await commands.send(new SendCommandCommand({ DocumentName: 'Get', InstanceIds: [host] }));
      const result = () =>
        commands.send(
          new GetCommandInvocationCommand({ CommandId: Command?.CommandId, InstanceId: host, PluginName: 'run' }),
        );
      await expect.poll(async () => (await result()).Status).toBe('Success');
      expect((await result()).StandardOutputContent).toBe('installed\n');
    } finally {
      objects.destroy();
      commands.destroy();
      await router.close();
      await own.close();
      await s3.close();
    }
  });

  test('the history has parameters and outputs: what leaks into them can be found there', async () => {
    await run([script('echo out-{{ word }}')], { word: { type: 'String' } }, { word: ['canary'] });
    const history = readFileSync(join(directory, 'log/ssm-commands.jsonl'), 'utf8');
    expect(history).toContain('"word":["canary"]');
    expect(history).toContain('out-canary');
  });
});

describe('Automation', () => {
  const start = async (content: object, Parameters: Record<string, string[]> = {}) => {
    const DocumentName = `Test-${documents++}`;
    const Content = JSON.stringify({ schemaVersion: '0.3', ...content });
    await client.send(new CreateDocumentCommand({ Name: DocumentName, Content, DocumentType: 'Automation' }));
    return (await client.send(new StartAutomationExecutionCommand({ DocumentName, Parameters }))).AutomationExecutionId;
  };
  const execution = async (id: string | undefined) =>
    (await client.send(new GetAutomationExecutionCommand({ AutomationExecutionId: id }))).AutomationExecution;
  const whenOver = async (id: string | undefined) => {
    await expect
      .poll(async () => (await execution(id))?.AutomationExecutionStatus, { timeout: 10_000 })
      .not.toBe('InProgress');
    return execution(id);
  };
  const form = {
    parameters: {
      Cluster: { type: 'String', allowedPattern: '^[a-z]+$' },
      Kind: { type: 'String', allowedValues: ['auto', 'full'], default: 'auto' },
      Name: { type: 'String', default: 'run-1' },
      Role: { type: 'String', default: automationRole },
    },
    assumeRole: '{{ Role }}',
    mainSteps: [
      {
        name: 'StartBackup',
        action: 'aws:executeStateMachine',
        inputs: {
          stateMachineArn: 'arn:aws:states:us-east-1:000000000000:stateMachine:backup',
          input: '{"cluster":"{{ Cluster }}","kind":"{{ Kind }}","automation":"{{ automation:EXECUTION_ID }}"}',
          name: '{{ Name }}',
        },
      },
    ],
    outputs: ['StartBackup.output', 'StartBackup.executionArn'],
  };

  test('a form starts its state machine as the assumed role and gives back what it answered', async () => {
    const id = await start(form, { Cluster: ['shop'] });
    const over = await whenOver(id);
    expect(over).toMatchObject({
      AutomationExecutionStatus: 'Success',
      Outputs: { 'StartBackup.executionArn': ['arn:execution:run-1'] },
    });
    expect(JSON.parse(over?.Outputs?.['StartBackup.output']?.[0] ?? '')).toEqual({
      asked: { cluster: 'shop', kind: 'auto', automation: id },
    });
    expect(executions.get('run-1')?.caller).toBe(automationRole);
    const listed = await client.send(
      new DescribeAutomationExecutionsCommand({ Filters: [{ Key: 'ExecutionId', Values: [id ?? ''] }] }),
    );
    expect(
      listed.AutomationExecutionMetadataList?.map(({ AutomationExecutionStatus }) => AutomationExecutionStatus),
    ).toEqual(['Success']);
  });

  test.each([
    ['of the wrong pattern', { Cluster: ['Shop 1'] }],
    ['of no allowed value', { Cluster: ['shop'], Kind: ['weekly'] }],
    ['that is missing', {}],
  ])('a value %s is refused before anything starts', async (_, values) => {
    await expect(start(form, values as unknown as Record<string, string[]>)).rejects.toMatchObject({
      name: 'InvalidAutomationExecutionParametersException',
    });
  });

  test('an execution that fails fails the automation with its status', async () => {
    expect(await whenOver(await start(form, { Cluster: ['shop'], Name: ['broken'] }))).toMatchObject({
      AutomationExecutionStatus: 'Failed',
      FailureMessage: expect.stringContaining('FAILED'),
    });
  });

  test('stopping an automation stops the execution that it waits for', async () => {
    const id = await start(form, { Cluster: ['shop'], Name: ['slow'] });
    await expect.poll(() => executions.get('slow')?.status).toBe('RUNNING');
    await client.send(new StopAutomationExecutionCommand({ AutomationExecutionId: id }));
    expect((await whenOver(id))?.AutomationExecutionStatus).toBe('Cancelled');
    expect(executions.get('slow')?.status).toBe('ABORTED');
    await expect(client.send(new StopAutomationExecutionCommand({ AutomationExecutionId: id }))).rejects.toMatchObject({
      name: 'InvalidAutomationStatusUpdateException',
    });
  });

  test('APIs are called, their answers selected, and branches taken by them', async () => {
    await client.send(new PutParameterCommand({ Name: '/redoubt/colour', Value: 'green', Type: 'String' }));
    const over = await whenOver(
      await start({
        mainSteps: [
          {
            name: 'Read',
            action: 'aws:executeAwsApi',
            inputs: { Service: 'ssm', Api: 'GetParameter', Name: '/redoubt/colour' },
            outputs: [{ Name: 'Colour', Selector: '$.Parameter.Value', Type: 'String' }],
          },
          {
            name: 'Choose',
            action: 'aws:branch',
            inputs: {
              Choices: [
                { NextStep: 'Wrong', Variable: '{{ Read.Colour }}', StringEquals: 'red' },
                { NextStep: 'Right', Variable: '{{ Read.Colour }}', StringEquals: 'green' },
              ],
            },
          },
          { name: 'Wrong', action: 'aws:sleep', inputs: { Duration: 'PT1S' }, isEnd: true },
          {
            name: 'Right',
            action: 'aws:waitForAwsResourceProperty',
            inputs: {
              Service: 'ssm',
              Api: 'GetParameter',
              Name: '/redoubt/colour',
              PropertySelector: '$.Parameter.Value',
              DesiredValues: ['green'],
            },
            isEnd: true,
          },
        ],
        outputs: ['Read.Colour'],
      }),
    );
    expect(over).toMatchObject({ AutomationExecutionStatus: 'Success', Outputs: { 'Read.Colour': ['green'] } });
    expect(over?.StepExecutions?.map(({ StepName }) => StepName)).toEqual(['Read', 'Choose', 'Right']);
  });

  test('an action that is not there fails by its name', async () => {
    const over = await whenOver(await start({ mainSteps: [{ name: 'Odd', action: 'aws:runInstances', inputs: {} }] }));
    expect(over).toMatchObject({
      AutomationExecutionStatus: 'Failed',
      FailureMessage: expect.stringContaining('aws:runInstances'),
    });
  });
});

test('parameters are kept, versioned, listed by path, and survive a restart', async () => {
  await client.send(new PutParameterCommand({ Name: '/app/a', Value: '1', Type: 'String' }));
  await client.send(new PutParameterCommand({ Name: '/app/deep/b', Value: '2', Type: 'String' }));
  await expect(client.send(new PutParameterCommand({ Name: '/app/a', Value: '3' }))).rejects.toMatchObject({
    name: 'ParameterAlreadyExists',
  });
  await client.send(new PutParameterCommand({ Name: '/app/a', Value: '3', Overwrite: true }));
  expect((await client.send(new GetParameterCommand({ Name: '/app/a' }))).Parameter).toMatchObject({
    Value: '3',
    Version: 2,
  });
  const names = async (Recursive: boolean) =>
    (await client.send(new GetParametersByPathCommand({ Path: '/app', Recursive }))).Parameters?.map(
      ({ Name }) => Name,
    );
  expect([await names(false), await names(true)]).toEqual([['/app/a'], ['/app/a', '/app/deep/b']]);
  expect(readFileSync(join(directory, 'state/parameters.json'), 'utf8')).toContain('/app/deep/b');
  await expect(client.send(new GetParameterCommand({ Name: '/app/none' }))).rejects.toMatchObject({
    name: 'ParameterNotFound',
  });
});
