import { readdirSync } from 'node:fs';
import { Logger } from '@aws-lambda-powertools/logger';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { RedoubtError } from '#core/errors.ts';
import { lambdaEdge } from '#functions/runtime/lambda-edge.ts';

const names = [
  'apply-cluster',
  'ask-host',
  'plan-backup',
  'plan-restore',
  'query-catalog',
  'record-backup',
  'report-command-end',
  'report-stale-clusters',
  'rewrap-keys',
  'settle-run',
  'shred-keys',
];

const environment = {
  AWS_REGION: 'us-east-1',
  TABLE_NAME: 'catalog',
  BUCKET_NAME: 'repository',
  DATA_KEY_ARN: 'arn:aws:kms:us-east-1:111122223333:key/1',
  OTHER_KEY_ARNS: '',
  RUN_AGENT_DOCUMENT: 'redoubt-run-agent',
  BACKUP_STATE_MACHINE_ARN: 'arn:aws:states:us-east-1:111122223333:stateMachine:backup',
  SCHEDULE_GROUP: 'redoubt',
  SCHEDULER_ROLE_ARN: 'arn:aws:iam::111122223333:role/scheduler',
  HEARTBEAT_SECONDS: '60',
  POWERTOOLS_SERVICE_NAME: 'redoubt',
  POWERTOOLS_DEV: 'true',
};

const context = { functionName: 'f', awsRequestId: 'r', invokedFunctionArn: 'arn:f', memoryLimitInMB: '128' };

const lines: string[] = [];
beforeEach(() => {
  vi.resetModules();
  lines.length = 0;
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  for (const method of ['log', 'info', 'warn', 'error'] as const)
    vi.spyOn(console, method).mockImplementation((...args) => {
      lines.push(args.map(String).join(' '));
    });
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

const load = (name: string) =>
  import(`../../functions/${name}/handler.ts`) as Promise<{
    readonly handler: (event: unknown, context: object) => Promise<unknown>;
  }>;

describe('the handlers', () => {
  it('are all of them tested here', () => {
    const folders = readdirSync(new URL('../../functions', import.meta.url));
    expect(names).toEqual(folders.filter((folder) => !['adapters', 'recording', 'runs', 'runtime'].includes(folder)));
  });

  it.each(names)('%s refuses an input it does not know, by name', async (name) => {
    const { handler } = await load(name);
    await expect(handler({ colour: 'red' }, context)).rejects.toMatchObject({ name: 'InvalidInput' });
    expect(lines.join('\n')).toContain('invocation-failed');
  });

  it.each(names)('%s names everything its environment lacks at once', async (name) => {
    for (const variable of Object.keys(environment).filter((key) => !key.startsWith('POWERTOOLS')))
      vi.stubEnv(variable, undefined);
    const error = await load(name).then(
      () => undefined,
      (thrown: Error) => thrown,
    );
    expect(error?.message).toMatch(/^The environment of this function is incomplete: (\w+ is missing(, |\.$))+$/);
    const { loadConfig } = (await import(`../../functions/${name}/config.ts`)) as {
      loadConfig: (env: Record<string, string>) => object;
    };
    const wanted = error?.message.match(/\w+(?= is missing)/g) ?? [];
    const full = loadConfig(environment);
    expect(wanted).toHaveLength(Object.keys(full).length);
  });

  it('say which variable is malformed, and not what it holds', async () => {
    vi.stubEnv('HEARTBEAT_SECONDS', 'often');
    await expect(load('plan-backup')).rejects.toThrow(
      'The environment of this function is incomplete: HEARTBEAT_SECONDS is malformed.',
    );
  });
});

describe('the edge of a function', () => {
  const edge = () => ({ logger: new Logger() });
  const schema = z.object({ count: z.number() });

  it('hands on the parsed input, and the result back', async () => {
    const handler = lambdaEdge(edge(), schema, async ({ count }) => count + 1);
    await expect(handler({ count: 1, more: 'dropped' }, context)).resolves.toBe(2);
  });

  it('names every problem of an input', async () => {
    const handler = lambdaEdge(edge(), z.object({ a: z.string(), b: z.number() }), async () => undefined);
    await expect(handler({}, context)).rejects.toMatchObject({
      name: 'InvalidInput',
      message: expect.stringMatching(/^a: .*; b: /),
    });
  });

  it('lets an error of ours leave under its own name', async () => {
    const handler = lambdaEdge(edge(), schema, async () => {
      throw new RedoubtError('LeaseLost', 'run-2 has it');
    });
    await expect(handler({ count: 1 }, context)).rejects.toMatchObject({ name: 'LeaseLost', message: 'run-2 has it' });
    const line = lines.find((text) => text.includes('invocation-failed')) ?? '';
    expect(JSON.parse(line)).toMatchObject({
      message: 'invocation-failed',
      error: 'LeaseLost',
      detail: 'run-2 has it',
    });
  });

  it('calls anything else Unexpected', async () => {
    const handler = lambdaEdge(edge(), schema, async () => {
      throw new TypeError('undefined is not a function');
    });
    await expect(handler({ count: 1 }, context)).rejects.toMatchObject({ name: 'Unexpected' });
  });

  it('does not log what a service repeats of what it was sent', async () => {
    const handler = lambdaEdge(edge(), schema, async () => {
      const cause = Object.assign(new Error("Invalid token: 'AAAA-secret'"), { name: 'InvalidToken' });
      throw new RedoubtError('ServiceUnavailable', 'Step Functions answered InvalidToken', { cause });
    });
    await expect(handler({ count: 1 }, context)).rejects.toMatchObject({ name: 'ServiceUnavailable' });
    expect(lines.join('\n')).toContain('InvalidToken');
    expect(lines.join('\n')).not.toContain('AAAA-secret');
  });

  it('says in time that it runs out of time', async () => {
    const handler = lambdaEdge(edge(), schema, () => new Promise(() => undefined));
    await expect(handler({ count: 1 }, { ...context, getRemainingTimeInMillis: () => 250 })).rejects.toMatchObject({
      name: 'ServiceUnavailable',
    });
  });
});
