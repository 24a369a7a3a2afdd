import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  EventBridgeClient,
  ListRulesCommand,
  PutEventsCommand,
  TestEventPatternCommand,
} from '@aws-sdk/client-eventbridge';
import { DescribeExecutionCommand, ListExecutionsCommand, SFNClient, StartExecutionCommand } from '@aws-sdk/client-sfn';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clientOptions, eventually, lambdaFunction, startFixtureCloud, stateMachine } from './template-fixture.ts';

const rule = (pattern: object, targets: readonly object[], more: object = {}) => ({
  Type: 'AWS::Events::Rule',
  Properties: { EventPattern: pattern, State: 'ENABLED', Targets: targets, ...more },
});
const functionArn = 'arn:aws:lambda:us-east-1:000000000000:function:listener';
const machineArn = 'arn:aws:states:us-east-1:000000000000:stateMachine:machine';

let cloud: Awaited<ReturnType<typeof startFixtureCloud>>;
let events: EventBridgeClient;
beforeAll(async () => {
  cloud = await startFixtureCloud(
    {
      listener: lambdaFunction('listener'),
      machine: stateMachine('machine', { StartAt: 'A', States: { A: { Type: 'Succeed' } } }),
      failing: stateMachine('failing', { StartAt: 'A', States: { A: { Type: 'Fail', Error: 'ChainBroken' } } }),
      ToFunction: rule({ source: ['redoubt'], 'detail-type': ['Backup Available'] }, [{ Id: 'a', Arn: functionArn }]),
      ToMachine: rule({ source: ['redoubt'], detail: { cluster: [{ prefix: 'shop-' }] } }, [
        {
          Id: 'b',
          Arn: machineArn,
          InputTransformer: {
            InputPathsMap: { cluster: '$.detail.cluster', size: '$.detail.size', none: '$.detail.none' },
            InputTemplate: '{"cluster":"the <cluster>","size":<size>,"none":<none>,"rule":<aws.events.rule-name>}',
          },
        },
      ]),
      WhenFailed: rule({ source: ['aws.states'], detail: { status: ['FAILED', 'TIMED_OUT', 'ABORTED'] } }, [
        { Id: 'c', Arn: functionArn, InputPath: '$.detail' },
      ]),
      Disabled: rule({ source: ['redoubt'] }, [{ Id: 'd', Arn: functionArn, Input: '"disabled"' }], {
        State: 'DISABLED',
      }),
      ToNobody: rule({ source: ['redoubt.retry'] }, [
        { Id: 'e', Arn: `${functionArn}-not`, RetryPolicy: { MaximumRetryAttempts: 1 } },
      ]),
    },
    { listener: 'export const handler = async (event) => console.log("got " + JSON.stringify(event));' },
  );
  events = new EventBridgeClient(clientOptions(cloud));
});
afterAll(() => cloud[Symbol.asyncDispose]());

const put = (Source: string, DetailType: string, detail: object) =>
  events.send(new PutEventsCommand({ Entries: [{ Source, DetailType, Detail: JSON.stringify(detail) }] }));

const log = (name: string) => {
  try {
    return readFileSync(join(cloud.logDirectory, name), 'utf8');
  } catch {
    return '';
  }
};

/** What the listening function was given, as soon as one matches. */
const heard = (matches: (event: Record<string, unknown>) => boolean) =>
  eventually(() =>
    [...log('lambda/listener.log').matchAll(/^got (.*)$/gm)]
      .map(([, text]) => JSON.parse(text as string))
      .find((event) => matches(event)),
  );

describe('the event bus', () => {
  test('gives a function the whole event', async () => {
    const { FailedEntryCount, Entries } = await put('redoubt', 'Backup Available', { cluster: 'crm' });
    expect(FailedEntryCount).toBe(0);
    expect(await heard(({ id }) => id === Entries?.[0]?.EventId)).toEqual({
      version: '0',
      id: Entries?.[0]?.EventId,
      'detail-type': 'Backup Available',
      source: 'redoubt',
      account: '000000000000',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      region: 'us-east-1',
      resources: [],
      detail: { cluster: 'crm' },
    });
  });

  test('starts a state machine with a transformed input', async () => {
    await put('redoubt', 'Anything', { cluster: 'shop-1', size: 5 });
    const sfn = new SFNClient(clientOptions(cloud));
    const execution = await eventually(
      async () => (await sfn.send(new ListExecutionsCommand({ stateMachineArn: machineArn }))).executions?.[0],
    );
    const { input } = await sfn.send(new DescribeExecutionCommand({ executionArn: execution.executionArn }));
    expect(JSON.parse(input ?? '')).toEqual({ cluster: 'the shop-1', size: 5, none: null, rule: 'fixture-ToMachine' });
  });

  test('hears how executions end', async () => {
    const sfn = new SFNClient(clientOptions(cloud));
    const stateMachineArn = machineArn.replace(/machine$/, 'failing');
    const { executionArn } = await sfn.send(
      new StartExecutionCommand({ stateMachineArn, name: 'run-1', input: '{"a":1}' }),
    );
    expect(await heard((detail) => detail.executionArn === executionArn)).toMatchObject({
      stateMachineArn,
      name: 'run-1',
      status: 'FAILED',
      error: 'ChainBroken',
      input: '{"a":1}',
      startDate: expect.any(Number),
      stopDate: expect.any(Number),
    });
  });

  test('tries a delivery that failed again and writes down both', async () => {
    await put('redoubt.retry', 'x', {});
    const attempts = await eventually(() => {
      const lines = log('events.jsonl')
        .split('\n')
        .filter((line) => line.includes('"failed"'));
      return lines.length >= 2 ? lines : undefined;
    });
    expect(attempts.map((line) => JSON.parse(line).attempt)).toEqual([0, 1]);
  });

  test('refuses entries one by one: the source of AWS, and details that are no object', async () => {
    const { FailedEntryCount, Entries } = await events.send(
      new PutEventsCommand({
        Entries: [
          { Source: 'aws.ssm', DetailType: 'x', Detail: '{}' },
          { Source: 'redoubt', DetailType: 'x', Detail: '[' },
          { Source: 'redoubt', DetailType: 'x', Detail: '{}' },
        ],
      }),
    );
    expect(FailedEntryCount).toBe(2);
    expect(Entries?.map(({ ErrorCode }) => ErrorCode)).toEqual([
      'NotAuthorizedForSourceException',
      'MalformedDetail',
      undefined,
    ]);
  });

  test('does not deliver for a disabled rule', async () => {
    const { Rules } = await events.send(new ListRulesCommand({ NamePrefix: 'fixture-Dis' }));
    expect(Rules).toMatchObject([{ Name: 'fixture-Disabled', State: 'DISABLED' }]);
    expect(log('lambda/listener.log')).not.toContain('got "disabled"');
  });
});

describe('patterns', () => {
  const event = {
    id: '1',
    'detail-type': 'EC2 Command Invocation Status-change Notification',
    source: 'aws.ssm',
    account: '000000000000',
    time: '2026-11-22T00:00:00Z',
    region: 'us-east-1',
    resources: ['arn:a', 'arn:b'],
    detail: {
      status: 'TimedOut',
      code: 127,
      tags: ['x', 'y'],
      nested: { none: null },
      steps: [{ name: 'a' }, { name: 'b' }],
    },
  };
  test.each([
    [{ detail: { status: ['Failed', 'TimedOut'] } }, true],
    [{ detail: { status: ['Failed'] } }, false],
    [{ detail: { status: [{ prefix: 'Timed' }] } }, true],
    [{ detail: { status: [{ prefix: { 'equals-ignore-case': 'TIMED' } }] } }, true],
    [{ detail: { status: [{ suffix: 'Out' }] } }, true],
    [{ detail: { status: [{ wildcard: 'T*d*t' }] } }, true],
    [{ detail: { status: [{ 'equals-ignore-case': 'timedout' }] } }, true],
    [{ detail: { status: [{ 'anything-but': ['Success', 'InProgress'] }] } }, true],
    [{ detail: { status: [{ 'anything-but': 'TimedOut' }] } }, false],
    [{ detail: { status: [{ 'anything-but': { prefix: 'Timed' } }] } }, false],
    [{ detail: { missing: [{ 'anything-but': 'x' }] } }, false],
    [{ detail: { missing: [{ exists: false }] } }, true],
    [{ detail: { status: [{ exists: true }] } }, true],
    [{ detail: { nested: { none: [null] } } }, true],
    [{ detail: { code: [{ numeric: ['>', 126, '<=', 127] }] } }, true],
    [{ detail: { code: [{ numeric: ['<', 127] }] } }, false],
    [{ detail: { code: ['127'] } }, false],
    [{ detail: { tags: ['y'] } }, true],
    [{ detail: { steps: { name: ['b'] } } }, true],
    [{ resources: ['arn:b'], source: ['aws.ec2'] }, false],
    [{ $or: [{ source: ['aws.ec2'] }, { detail: { code: [127] } }] }, true],
  ])('%j is %s', async (pattern, expected) => {
    const { Result } = await events.send(
      new TestEventPatternCommand({ EventPattern: JSON.stringify(pattern), Event: JSON.stringify(event) }),
    );
    expect(Result).toBe(expected);
  });

  test('a rule with an operator that is not known cannot be made', async () => {
    await expect(startFixtureCloud({ Rule: rule({ source: [{ cidr: '10.0.0.0/8' }] }, []) })).rejects.toThrow(
      'operator cidr',
    );
  });
});
