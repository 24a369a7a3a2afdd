import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  DescribeExecutionCommand,
  type DescribeExecutionCommandOutput,
  DescribeStateMachineCommand,
  GetExecutionHistoryCommand,
  ListExecutionsCommand,
  ListStateMachinesCommand,
  SendTaskFailureCommand,
  SendTaskHeartbeatCommand,
  SendTaskSuccessCommand,
  SFNClient,
  StartExecutionCommand,
  StopExecutionCommand,
} from '@aws-sdk/client-sfn';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AwsError, awsJson } from '#local/cloud/service.ts';
import { parseDefinition } from '#local/cloud/step-functions/definition.ts';
import { clientOptions, eventually, lambdaFunction, startFixtureCloud, stateMachine } from './template-fixture.ts';

const invoke = 'arn:aws:states:::lambda:invoke';
const waitForToken = `${invoke}.waitForTaskToken`;

const one = (state: object, rest: object = {}) => ({
  StartAt: 'Do it',
  States: { 'Do it': { End: true, ...state }, ...rest },
});

/** Asks a Lambda function that never answers the token itself, and hands the token out in its log. */
const ask = {
  Type: 'Task',
  Resource: waitForToken,
  Arguments: { FunctionName: 'asker', Payload: { token: '{% $states.context.Task.Token %}' } },
};

const thrower = (more: object) => ({
  Type: 'Task',
  Resource: invoke,
  Arguments: { FunctionName: 'throws', Payload: '{% $states.input %}' },
  ...more,
});

const machines: Record<string, object> = {
  variables: {
    StartAt: 'Remember',
    States: {
      Remember: {
        Type: 'Pass',
        Assign: { host: '{% $states.input.host %}', count: 1, nested: { deep: ['{% $states.input.host %}'] } },
        Output: { before: "{% $exists($host) ? 'seen' : 'not yet' %}" },
        Next: 'Count',
      },
      Count: {
        Type: 'Pass',
        Assign: { count: '{% $count + 1 %}' },
        Output: { old: '{% $count %}', previous: '{% $states.input.before %}' },
        Next: 'Say',
      },
      Say: {
        Type: 'Succeed',
        Output: {
          host: '{% $host %}',
          count: '{% $count %}',
          nested: '{% $nested %}',
          old: '{% $states.input.old %}',
          previous: '{% $states.input.previous %}',
        },
      },
    },
  },
  context: one({
    Type: 'Pass',
    Output: '{% $states.context %}',
  }),
  functions: one({
    Type: 'Pass',
    Output: {
      parsed: '{% $parse(\'{"a":[1]}\').a %}',
      parts: '{% $partition([1,2,3,4,5], 2) %}',
      range: '{% $range(1, 10, 4) %}',
      down: '{% $range(3, 1, -1) %}',
      hash: "{% $hash('redoubt', 'SHA-256') %}",
      uuid: '{% $uuid() %}',
      random: '{% $random() %}',
      seeded: '{% $random(7) = $random(7) %}',
      literal: '{% not closed',
    },
  }),
  undefinedOutput: one({ Type: 'Pass', Output: '{% $states.input.missing %}' }),
  noEval: one({ Type: 'Pass', Output: "{% $eval('1') %}" }),
  choice: {
    StartAt: 'Which kind?',
    States: {
      'Which kind?': {
        Type: 'Choice',
        Choices: [
          {
            Condition: "{% $states.input.kind = 'full' %}",
            Next: 'End',
            Assign: { kind: 'a full' },
            Output: { chosen: 1 },
          },
          {
            Condition: "{% $states.input.kind in ['auto', 'incremental'] %}",
            Next: 'End',
            Assign: { kind: 'an increment' },
          },
        ],
        Default: 'End',
        Assign: { kind: 'nothing' },
      },
      End: { Type: 'Succeed', Output: { kind: '{% $kind %}', input: '{% $states.input %}' } },
    },
  },
  noChoice: {
    StartAt: 'Which?',
    States: {
      'Which?': { Type: 'Choice', Choices: [{ Condition: '{% false %}', Next: 'End' }] },
      End: { Type: 'Succeed' },
    },
  },
  map: one({
    Type: 'Map',
    Items: '{% $states.input.hosts %}',
    MaxConcurrency: 2,
    ItemSelector: {
      host: '{% $states.context.Map.Item.Value %}',
      index: '{% $states.context.Map.Item.Index %}',
      cluster: '{% $states.input.cluster %}',
    },
    ItemProcessor: {
      StartAt: 'Echo',
      States: {
        Echo: {
          Type: 'Task',
          Resource: invoke,
          Arguments: { FunctionName: 'echo', Payload: '{% $states.input %}' },
          Assign: { inner: '{% $states.result.Payload %}' },
          Output: '{% $states.result.Payload.event %}',
          End: true,
        },
      },
    },
    Assign: { count: '{% $count($states.result) %}' },
    Output: { items: '{% $states.result %}', innerIsGone: '{% $not($exists($inner)) %}' },
  }),
  parallel: one({
    Type: 'Parallel',
    Branches: [
      one({ Type: 'Pass', Output: '{% $states.input.a %}' }),
      one({ Type: 'Pass', Output: '{% $states.input.b %}' }),
    ],
    Output: '{% $states.result %}',
  }),
  parallelFails: one(
    {
      Type: 'Parallel',
      Branches: [one({ Type: 'Wait', Seconds: 60 }), one(thrower({}))],
      Catch: [{ ErrorEquals: ['ChainBroken'], Next: 'Caught', Output: '{% $states.errorOutput.Error %}' }],
    },
    { Caught: { Type: 'Succeed' } },
  ),
  fail: {
    StartAt: 'Fail',
    States: {
      Fail: { Type: 'Fail', Error: '{% $states.input.error %}', Cause: "{% 'because ' & $states.input.why %}" },
    },
  },
  wait: one({ Type: 'Wait', Timestamp: '{% $fromMillis($millis() + 300) %}' }),
  retries: one(
    thrower({
      Retry: [
        { ErrorEquals: ['Other'], MaxAttempts: 5 },
        { ErrorEquals: ['ChainBroken'], IntervalSeconds: 0.05, MaxAttempts: 2, BackoffRate: 1 },
      ],
      Catch: [
        {
          ErrorEquals: ['States.ALL'],
          Next: 'Caught',
          Assign: { retries: '{% $states.context.State.RetryCount %}', error: '{% $states.errorOutput %}' },
          Output: { error: '{% $states.errorOutput.Error %}', was: '{% $states.input %}' },
        },
      ],
    }),
    {
      Caught: {
        Type: 'Succeed',
        Output: { retries: '{% $retries %}', cause: '{% $parse($error.Cause) %}', output: '{% $states.input %}' },
      },
    },
  ),
  caughtByTaskFailed: one(thrower({ Catch: [{ ErrorEquals: ['States.TaskFailed'], Next: 'Caught' }] }), {
    Caught: { Type: 'Succeed' },
  }),
  uncaught: one(thrower({ Catch: [{ ErrorEquals: ['Other'], Next: 'Caught' }] }), { Caught: { Type: 'Succeed' } }),
  noFunction: one({ Type: 'Task', Resource: invoke, Arguments: { FunctionName: 'nobody' } }),
  ask: one({ ...ask, HeartbeatSeconds: 60, Output: '{% $states.result %}' }),
  heartbeat: one(
    {
      ...ask,
      HeartbeatSeconds: '{% $states.input.heartbeat %}',
      Catch: [
        { ErrorEquals: ['ChainBroken'], Next: 'Broken' },
        { ErrorEquals: ['States.HeartbeatTimeout'], Next: 'Silent' },
      ],
    },
    {
      Broken: { Type: 'Pass', Output: { broken: '{% $states.input %}' }, End: true },
      Silent: { Type: 'Pass', Output: { silent: '{% $states.input %}' }, End: true },
    },
  ),
  taskTimeout: one({ ...ask, TimeoutSeconds: 1 }),
  taskFailedIsNoTimeout: one(
    { ...ask, TimeoutSeconds: 1, Catch: [{ ErrorEquals: ['States.TaskFailed'], Next: 'Caught' }] },
    { Caught: { Type: 'Succeed' } },
  ),
  machineTimeout: { TimeoutSeconds: 1, ...one({ Type: 'Wait', Seconds: 60 }) },
  failingAsk: one({
    ...ask,
    Arguments: { FunctionName: 'throws', Payload: { name: 'AgentMissing', token: '{% $states.context.Task.Token %}' } },
  }),
  sdk: one(
    {
      Type: 'Task',
      Resource: 'arn:aws:states:::aws-sdk:kms:describeKey',
      Arguments: { KeyId: '{% $states.input.key %}' },
      Catch: [{ ErrorEquals: ['Kms.NotFoundException'], Next: 'Caught' }],
    },
    { Caught: { Type: 'Pass', Output: { caught: '{% $states.input %}' }, End: true } },
  ),
  sdkOfStates: one({
    Type: 'Task',
    Resource: 'arn:aws:states:::aws-sdk:sfn:describeExecution',
    Arguments: { ExecutionArn: '{% $states.context.Execution.Id %}' },
    Output: '{% $states.result.Status %}',
  }),
  nested: one({
    Type: 'Task',
    Resource: 'arn:aws:states:::states:startExecution.sync:2',
    Arguments: {
      StateMachineArn: 'arn:aws:states:us-east-1:000000000000:stateMachine:parallel',
      Input: { a: 1, b: 2 },
    },
    Output: '{% $states.result.Output %}',
  }),
  notify: one({
    Type: 'Task',
    Resource: 'arn:aws:states:::sns:publish',
    Arguments: { TopicArn: 'topic', Message: 'backup failed' },
  }),
  tooLarge: one({ Type: 'Pass', Output: "{% $join($range(1, 900, 1).$pad('', 300, 'x')) %}" }),
};

const handlers = {
  echo: `export const handler = async (event) => ({ event });`,
  throws: `export const handler = async ({ name = 'ChainBroken' }) => { const error = new Error('no such parent'); error.name = name; throw error; };`,
  asker: `export const handler = async ({ token }) => { console.log('token ' + token); return { asked: true }; };`,
};

let cloud: Awaited<ReturnType<typeof startFixtureCloud>>;
let sfn: SFNClient;
beforeAll(async () => {
  const callers: string[] = [];
  cloud = await startFixtureCloud(
    {
      ...Object.fromEntries(Object.keys(handlers).map((name) => [name, lambdaFunction(name)])),
      ...Object.fromEntries(
        Object.entries(machines).map(([name, definition]) => [name, stateMachine(name, definition)]),
      ),
    },
    handlers,
    [
      () => ({
        service: awsJson('kms', {
          DescribeKey: async ({ KeyId }, caller) => {
            callers.push(caller);
            if (KeyId === 'none') {
              throw new AwsError('NotFoundException', 'There is no such key.');
            }
            return { KeyMetadata: { KeyId, Caller: caller } };
          },
        }),
      }),
    ],
  );
  sfn = new SFNClient(clientOptions(cloud));
});
afterAll(() => cloud[Symbol.asyncDispose]());

const arnOf = (machine: string) => `arn:aws:states:us-east-1:000000000000:stateMachine:${machine}`;

const start = async (machine: string, input: unknown = {}, name?: string): Promise<string> => {
  const { executionArn } = await sfn.send(
    new StartExecutionCommand({ stateMachineArn: arnOf(machine), input: JSON.stringify(input), name }),
  );
  return executionArn as string;
};

const ended = (executionArn: string): Promise<DescribeExecutionCommandOutput> =>
  eventually(async () => {
    const description = await sfn.send(new DescribeExecutionCommand({ executionArn }));
    return description.status === 'RUNNING' ? undefined : description;
  });

const run = async (machine: string, input: unknown = {}) => {
  const { status, output, error, cause } = await ended(await start(machine, input));
  return { status, output: output === undefined ? undefined : JSON.parse(output), error, cause };
};

const historyOf = async (executionArn: string) =>
  (await sfn.send(new GetExecutionHistoryCommand({ executionArn }))).events ?? [];

/** The token that the last task of an execution handed out. */
const tokenOf = (executionArn: string): Promise<string> =>
  eventually(async () => {
    const submitted = (await historyOf(executionArn)).filter(({ type }) => type === 'TaskSubmitted');
    const scheduled = (await historyOf(executionArn)).findLast(({ type }) => type === 'TaskScheduled');
    return submitted.length === 0
      ? undefined
      : JSON.parse(scheduled?.taskScheduledEventDetails?.parameters ?? '{}').Payload.token;
  });

describe('data', () => {
  test('variables are assigned with the values from before the state, and kept for later ones', async () => {
    expect(await run('variables', { host: 'db-1' })).toMatchObject({
      status: 'SUCCEEDED',
      output: { host: 'db-1', count: 2, nested: { deep: ['db-1'] }, old: 1, previous: 'not yet' },
    });
  });

  test('the context object says who and where', async () => {
    const arn = await start('context', { a: 1 }, 'named-run');
    const { output } = await ended(arn);
    expect(JSON.parse(output ?? '')).toMatchObject({
      Execution: { Id: arn, Name: 'named-run', Input: { a: 1 }, StartTime: expect.stringMatching(/^\d{4}-.*Z$/) },
      State: { Name: 'Do it', RetryCount: 0, EnteredTime: expect.stringMatching(/Z$/) },
      StateMachine: { Id: arnOf('context'), Name: 'context' },
    });
  });

  test('the functions that Step Functions adds to JSONata are there', async () => {
    expect((await run('functions')).output).toMatchObject({
      parsed: [1],
      parts: [[1, 2], [3, 4], [5]],
      range: [1, 5, 9],
      down: [3, 2, 1],
      hash: '07c365db1aa38e3f648b3b306f7cd4f672abb23095b102b949ff2e2bdea4e96a',
      uuid: expect.stringMatching(/^[\da-f-]{36}$/),
      random: expect.any(Number),
      seeded: true,
      literal: '{% not closed',
    });
  });

  test('an expression that yields nothing, or uses $eval, fails the execution', async () => {
    expect(await run('undefinedOutput')).toMatchObject({
      status: 'FAILED',
      error: 'States.QueryEvaluationError',
      cause: expect.stringContaining("'$states.input.missing' specified for the field 'Output' returned nothing"),
    });
    expect((await run('noEval')).error).toBe('States.QueryEvaluationError');
  });

  test('data over 256 KiB ends the execution', async () => {
    expect((await run('tooLarge')).error).toBe('States.DataLimitExceeded');
  });
});

describe('states', () => {
  test('Choice takes the first condition that holds, or the default, with its own Assign and Output', async () => {
    expect((await run('choice', { kind: 'full' })).output).toEqual({ kind: 'a full', input: { chosen: 1 } });
    expect((await run('choice', { kind: 'auto' })).output).toEqual({ kind: 'an increment', input: { kind: 'auto' } });
    expect((await run('choice', { kind: '?' })).output).toEqual({ kind: 'nothing', input: { kind: '?' } });
    expect((await run('noChoice')).error).toBe('States.NoChoiceMatched');
  });

  test('Map runs every item in its own scope and keeps the order', async () => {
    expect((await run('map', { cluster: 'shop', hosts: ['a', 'b', 'c'] })).output).toEqual({
      items: ['a', 'b', 'c'].map((host, index) => ({ host, index, cluster: 'shop' })),
      innerIsGone: true,
    });
  });

  test('Parallel gathers the results of its branches', async () => {
    expect((await run('parallel', { a: 1, b: 2 })).output).toEqual([1, 2]);
  });

  test('a failed branch stops the others and its error can be caught', async () => {
    expect(await run('parallelFails')).toMatchObject({ status: 'SUCCEEDED', output: 'ChainBroken' });
  });

  test('Fail computes its error and cause', async () => {
    expect(await run('fail', { error: 'LeaseHeld', why: 'busy' })).toMatchObject({
      status: 'FAILED',
      error: 'LeaseHeld',
      cause: 'because busy',
    });
  });

  test('Wait waits until a time', async () => {
    const { startDate, stopDate } = await ended(await start('wait'));
    expect(Number(stopDate) - Number(startDate)).toBeGreaterThanOrEqual(295);
  });
});

describe('errors', () => {
  test('Retry counts per retrier, and Catch gets the error output', async () => {
    expect((await run('retries', { name: 'ChainBroken' })).output).toEqual({
      retries: 2,
      cause: expect.objectContaining({ errorType: 'ChainBroken', errorMessage: 'no such parent' }),
      output: { error: 'ChainBroken', was: { name: 'ChainBroken' } },
    });
  });

  test('States.TaskFailed catches a named error, but no timeout', async () => {
    expect((await run('caughtByTaskFailed')).output).toMatchObject({ Error: 'ChainBroken' });
    expect(await run('taskFailedIsNoTimeout')).toMatchObject({ status: 'FAILED', error: 'States.Timeout' });
  });

  test('an error that nobody catches is the error of the execution', async () => {
    expect(await run('uncaught')).toMatchObject({ status: 'FAILED', error: 'ChainBroken' });
    expect((await run('noFunction')).error).toBe('Lambda.ResourceNotFoundException');
  });

  test('a task or an execution that takes too long times out', async () => {
    const [task, machine] = await Promise.all([run('taskTimeout'), run('machineTimeout')]);
    expect(task).toMatchObject({ status: 'FAILED', error: 'States.Timeout' });
    expect(machine).toMatchObject({ status: 'TIMED_OUT', error: undefined });
  });
});

describe('task tokens', () => {
  test('SendTaskSuccess gives the task its result, once', async () => {
    const arn = await start('ask');
    const taskToken = await tokenOf(arn);
    await sfn.send(new SendTaskSuccessCommand({ taskToken, output: '{"manifest":"m"}' }));
    expect(await ended(arn)).toMatchObject({ status: 'SUCCEEDED', output: '{"manifest":"m"}' });
    const late = { name: 'TaskTimedOut' };
    await expect(sfn.send(new SendTaskSuccessCommand({ taskToken, output: '{}' }))).rejects.toMatchObject(late);
    await expect(sfn.send(new SendTaskHeartbeatCommand({ taskToken }))).rejects.toMatchObject(late);
  });

  test('SendTaskFailure fails the task with its error and cause', async () => {
    const arn = await start('heartbeat', { heartbeat: 60 });
    await sfn.send(
      new SendTaskFailureCommand({ taskToken: await tokenOf(arn), error: 'ChainBroken', cause: 'lsn went back' }),
    );
    expect(JSON.parse((await ended(arn)).output ?? '')).toEqual({
      broken: { Error: 'ChainBroken', Cause: 'lsn went back' },
    });
  });

  test('heartbeats keep a task alive past its heartbeat time; without them it times out', async () => {
    const arn = await start('heartbeat', { heartbeat: 1 });
    const taskToken = await tokenOf(arn);
    for (let beat = 0; beat < 3; beat += 1) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      await sfn.send(new SendTaskHeartbeatCommand({ taskToken }));
    }
    const { output } = await ended(arn);
    // Reported as States.Timeout, caught by States.HeartbeatTimeout.
    expect(JSON.parse(output ?? '')).toEqual({ silent: { Error: 'States.Timeout' } });
    await expect(sfn.send(new SendTaskHeartbeatCommand({ taskToken }))).rejects.toMatchObject({ name: 'TaskTimedOut' });
  });

  test('a function that fails to ask fails the task', async () => {
    expect(await run('failingAsk')).toMatchObject({ status: 'FAILED', error: 'AgentMissing' });
  });

  test('unknown tokens and outputs that are not JSON are refused by name', async () => {
    await expect(sfn.send(new SendTaskHeartbeatCommand({ taskToken: 'nonsense' }))).rejects.toMatchObject({
      name: 'InvalidToken',
    });
    await expect(sfn.send(new SendTaskHeartbeatCommand({ taskToken: 'AQCunknown' }))).rejects.toMatchObject({
      name: 'TaskDoesNotExist',
    });
    await expect(sfn.send(new SendTaskSuccessCommand({ taskToken: 'AQC', output: '{' }))).rejects.toMatchObject({
      name: 'InvalidOutput',
    });
  });

  test('stopping the execution takes the token away from the agent', async () => {
    const arn = await start('ask');
    const taskToken = await tokenOf(arn);
    await sfn.send(new StopExecutionCommand({ executionArn: arn, error: 'Operator', cause: 'not now' }));
    expect(await ended(arn)).toMatchObject({ status: 'ABORTED', error: 'Operator', cause: 'not now' });
    await expect(sfn.send(new SendTaskHeartbeatCommand({ taskToken }))).rejects.toMatchObject({ name: 'TaskTimedOut' });
  });
});

describe('integrations', () => {
  test('an AWS SDK task calls the service as the state machine, and names its errors as the SDK does', async () => {
    expect((await run('sdk', { key: 'k1' })).output).toEqual({
      KeyMetadata: { KeyId: 'k1', Caller: 'arn:aws:iam::000000000000:role/machine' },
    });
    expect((await run('sdk', { key: 'none' })).output).toMatchObject({ caught: { Error: 'Kms.NotFoundException' } });
  });

  test('camelCase services are PascalCase in a state', async () => {
    expect((await run('sdkOfStates')).output).toBe('RUNNING');
  });

  test('a nested execution is waited for', async () => {
    expect((await run('nested')).output).toEqual([1, 2]);
  });

  test('notifications are written down, not sent', async () => {
    expect((await run('notify')).status).toBe('SUCCEEDED');
    expect(readFileSync(join(cloud.logDirectory, 'notifications.jsonl'), 'utf8')).toContain('backup failed');
  });
});

describe('executions', () => {
  test('a name starts one execution: again with the same input it is the same one, otherwise refused', async () => {
    const arn = await start('ask', { a: 1 }, 'nightly');
    expect(await start('ask', { a: 1 }, 'nightly')).toBe(arn);
    await expect(start('ask', { a: 2 }, 'nightly')).rejects.toMatchObject({ name: 'ExecutionAlreadyExists' });
    await sfn.send(new StopExecutionCommand({ executionArn: arn }));
    await expect(start('ask', { a: 1 }, 'nightly')).rejects.toMatchObject({ name: 'ExecutionAlreadyExists' });
    await expect(start('ask', {}, 'with space')).rejects.toMatchObject({ name: 'InvalidName' });
  });

  test('the history tells what happened, pages and all, and is written to the log as it happens', async () => {
    const arn = await start('retries', { name: 'ChainBroken' });
    await ended(arn);
    const types = (await historyOf(arn)).map(({ type }) => type);
    const attempt = ['TaskScheduled', 'TaskStarted', 'TaskFailed'];
    expect(types).toEqual([
      'ExecutionStarted',
      'TaskStateEntered',
      ...attempt,
      ...attempt,
      ...attempt,
      'TaskStateExited',
      'SucceedStateEntered',
      'SucceedStateExited',
      'ExecutionSucceeded',
    ]);
    const page = await sfn.send(
      new GetExecutionHistoryCommand({ executionArn: arn, maxResults: 1, reverseOrder: true }),
    );
    expect(page.events?.[0]).toMatchObject({ type: 'ExecutionSucceeded', id: types.length });
    expect(page.nextToken).toBeDefined();
    const log = readFileSync(join(cloud.logDirectory, 'step-functions', 'retries.jsonl'), 'utf8')
      .trim()
      .split('\n');
    expect(log.map((line) => JSON.parse(line)).filter(({ execution }) => arn.endsWith(execution))).toHaveLength(
      types.length,
    );
  });

  test('executions and state machines are listed and described', async () => {
    await start('choice', { kind: 'full' }, 'listed');
    const { executions } = await sfn.send(new ListExecutionsCommand({ stateMachineArn: arnOf('choice') }));
    expect(executions?.[0]).toMatchObject({ name: 'listed', stateMachineArn: arnOf('choice') });
    const { stateMachines } = await sfn.send(new ListStateMachinesCommand({}));
    expect(stateMachines?.map(({ name }) => name).sort()).toEqual(Object.keys(machines).sort());
    const described = await sfn.send(new DescribeStateMachineCommand({ stateMachineArn: arnOf('choice') }));
    expect(JSON.parse(described.definition ?? '')).toMatchObject({ StartAt: 'Which kind?' });
    await expect(
      sfn.send(new DescribeExecutionCommand({ executionArn: `${arnOf('choice')}:no` })),
    ).rejects.toMatchObject({
      name: 'ExecutionDoesNotExist',
    });
    await expect(start('nobody')).rejects.toMatchObject({ name: 'StateMachineDoesNotExist' });
  });
});

describe('definitions that are refused', () => {
  const machine = (definition: object) => () =>
    parseDefinition(JSON.stringify({ QueryLanguage: 'JSONata', ...definition }));
  test.each([
    ['JSONPath', one({ Type: 'Pass', ResultPath: '$.x' }), 'JSONPath (ResultPath)'],
    ['an unknown field', one({ Type: 'Pass', Arguments: {} }), 'has Arguments'],
    ['an unknown integration', one({ Type: 'Task', Resource: 'arn:aws:states:::sqs:sendMessage' }), 'no integration'],
    ['a dangling transition', { StartAt: 'A', States: { A: { Type: 'Pass', Next: 'B' } } }, 'leads to "B"'],
    ['an expression that does not parse', one({ Type: 'Pass', Output: '{% $states. %}' }), 'is not JSONata'],
    [
      'a condition without an expression',
      { StartAt: 'A', States: { A: { Type: 'Choice', Choices: [{ Condition: 'yes', Next: 'A' }] } } },
      'a Condition is',
    ],
    [
      'an inner scope that assigns an outer variable',
      one({ Type: 'Parallel', Assign: { x: 1 }, Branches: [one({ Type: 'Pass', Assign: { x: 2 } })] }),
      'belongs to an outer scope',
    ],
  ])('%s', (_what, definition, message) => {
    expect(machine(definition)).toThrow(message);
  });
});
