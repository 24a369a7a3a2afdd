import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clientOptions, eventually, lambdaFunction, startFixtureCloud } from './template-fixture.ts';

const handlers = {
  echo: `export const handler = async (event, context) => ({
    event, env: process.env, name: context.functionName, arn: context.invokedFunctionArn,
    left: context.getRemainingTimeInMillis(), id: context.awsRequestId,
  });`,
  fails: `export const handler = async () => {
    const error = new Error('the lease is held');
    error.name = 'LeaseHeld';
    throw error;
  };`,
  sleeps: `export const handler = async () => new Promise((resolve) => setTimeout(resolve, 60_000));`,
  counts: `let count = 0; export const handler = async () => ({ count: ++count });`,
  broken: `import './not-there.mjs'; export const handler = async () => 1;`,
  leaves: `export const handler = async () => process.exit(3);`,
  logs: `export const handler = async () => { console.log('a line of the handler'); };`,
  flaky: `import { appendFileSync } from 'node:fs';
    export const handler = async ({ file }) => { appendFileSync(file, 'x'); throw new Error('again'); };`,
  sdk: `import { LambdaClient, InvokeCommand } from '@aws-sdk/client-lambda';
    export const handler = async () => {
      const answer = await new LambdaClient({}).send(new InvokeCommand({ FunctionName: 'counts' }));
      return { status: answer.StatusCode };
    };`,
  reserved: `export const handler = async () => new Promise((resolve) => setTimeout(resolve, 500));`,
};

let cloud: Awaited<ReturnType<typeof startFixtureCloud>>;
let client: LambdaClient;
beforeAll(async () => {
  const declared = {
    echo: { Environment: { Variables: { TABLE: 'catalog' } }, MemorySize: 256 },
    sleeps: { Timeout: 1 },
    reserved: { ReservedConcurrentExecutions: 1 },
  } as Record<string, object>;
  cloud = await startFixtureCloud(
    Object.fromEntries(Object.keys(handlers).map((name) => [name, lambdaFunction(name, declared[name])])),
    handlers,
  );
  client = new LambdaClient(clientOptions(cloud));
});
afterAll(() => cloud[Symbol.asyncDispose]());

const invoke = async (name: string, payload: unknown = {}) => {
  const answer = await client.send(new InvokeCommand({ FunctionName: name, Payload: JSON.stringify(payload) }));
  return {
    error: answer.FunctionError,
    status: answer.StatusCode,
    result: JSON.parse(answer.Payload?.transformToString() ?? 'null'),
  };
};

describe('invoking a function', () => {
  test('gives the handler the event, a context and nothing in its environment but what Lambda would', async () => {
    process.env.REDOUBT_TEST_LEAK = 'must not arrive';
    const { result, status, error } = await invoke('arn:aws:lambda:us-east-1:000000000000:function:echo', { a: 1 });
    expect({ status, error }).toEqual({ status: 200, error: undefined });
    expect(result).toMatchObject({
      event: { a: 1 },
      name: 'echo',
      arn: 'arn:aws:lambda:us-east-1:000000000000:function:echo',
      id: expect.stringMatching(/^[\da-f-]{36}$/),
    });
    expect(result.left).toBeGreaterThan(5000);
    expect(result.env).toMatchObject({
      TABLE: 'catalog',
      AWS_REGION: 'us-east-1',
      AWS_ENDPOINT_URL: cloud.endpoint,
      AWS_LAMBDA_FUNCTION_NAME: 'echo',
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '256',
    });
    expect(cloud.principals.arnOf(result.env.AWS_ACCESS_KEY_ID)).toBe('arn:aws:iam::000000000000:role/worker');
    expect(Object.keys(result.env).filter((key) => !/^(AWS_|LAMBDA_|_HANDLER$|TZ$|TABLE$)/.test(key))).toEqual([]);
  });

  test('maps an error that the handler throws to its name and message', async () => {
    expect(await invoke('fails')).toMatchObject({
      status: 200,
      error: 'Unhandled',
      result: { errorType: 'LeaseHeld', errorMessage: 'the lease is held' },
    });
  });

  test('ends a handler that runs past its timeout', async () => {
    const { error, result } = await invoke('sleeps');
    expect(error).toBe('Unhandled');
    expect(result.errorType).toBe('Sandbox.Timedout');
    expect(result.errorMessage).toContain('Task timed out after 1.00 seconds');
  });

  test('keeps the environment warm', async () => {
    const first = (await invoke('counts')).result.count;
    expect((await invoke('counts')).result.count).toBe(first + 1);
  });

  test('reports code that cannot be loaded', async () => {
    expect((await invoke('broken')).error).toBe('Unhandled');
  });

  test('reports a handler that leaves the process', async () => {
    expect((await invoke('leaves')).result).toMatchObject({
      errorType: 'Runtime.ExitError',
      errorMessage: 'Error: Runtime exited with error: exit status 3',
    });
  });

  test('gives handlers the SDK that the runtime brings, pointed at the same endpoint', async () => {
    expect((await invoke('sdk')).result).toEqual({ status: 200 });
  });

  test('refuses more events than the concurrency that is reserved', async () => {
    const [first, second] = await Promise.allSettled([invoke('reserved'), invoke('reserved')]);
    expect([first.status, second.status].sort()).toEqual(['fulfilled', 'rejected']);
    const refused = [first, second].find(({ status }) => status === 'rejected') as PromiseRejectedResult;
    expect(refused.reason).toMatchObject({ name: 'TooManyRequestsException' });
  });

  test('does not know a function that no template has', async () => {
    await expect(invoke('nobody')).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
  });

  test("writes what the handler prints to the function's log", async () => {
    await invoke('logs');
    await eventually(
      () =>
        readFileSync(join(cloud.logDirectory, 'lambda', 'logs.log'), 'utf8').includes('a line of the handler') ||
        undefined,
    );
  });

  test('tries a failed asynchronous event twice more', async () => {
    const file = join(cloud.logDirectory, 'attempts');
    const answer = await client.send(
      new InvokeCommand({ FunctionName: 'flaky', InvocationType: 'Event', Payload: JSON.stringify({ file }) }),
    );
    expect(answer.StatusCode).toBe(202);
    await eventually(
      () => readFileSync(join(cloud.logDirectory, 'lambda', 'flaky.log'), 'utf8').includes('GAVE UP') || undefined,
    );
    expect(readFileSync(file, 'utf8')).toBe('xxx');
  });
});
