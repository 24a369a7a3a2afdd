import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import {
  DescribeExecutionCommand,
  GetExecutionHistoryCommand,
  type HistoryEvent,
  SendTaskFailureCommand,
  SendTaskSuccessCommand,
  SFNClient,
  StartExecutionCommand,
} from '@aws-sdk/client-sfn';
import { GetParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import { mockClient } from 'aws-sdk-client-mock';
import { findControlPlane } from '#cli/control-plane.ts';
import { runCli } from '#cli/run-cli.ts';

export const aws = {
  ssm: mockClient(SSMClient),
  lambda: mockClient(LambdaClient),
  stepFunctions: mockClient(SFNClient),
};

export const address = {
  bucket: 'redoubt-repository',
  table: 'redoubt-catalog',
  functions: {
    applyCluster: 'redoubt-apply-cluster',
    queryCatalog: 'redoubt-query-catalog',
    rewrapKeys: 'redoubt-rewrap-keys',
    shredKeys: 'redoubt-shred-keys',
  },
  stateMachines: {
    backup: 'arn:aws:states:us-east-1:111122223333:stateMachine:redoubt-back-up-a-cluster',
    restore: 'arn:aws:states:us-east-1:111122223333:stateMachine:redoubt-restore-a-cluster',
  },
  documents: { runAgent: 'redoubt-RunAgent', installAgent: 'redoubt-InstallAgent', restore: 'redoubt-Restore' },
  hostPolicy: 'arn:aws:iam::111122223333:policy/redoubt-host',
  dataKey: 'arn:aws:kms:us-east-1:111122223333:key/7a1c',
};

/** A deployed control plane under its default name, without any cluster. */
export const givenControlPlane = (): void => {
  for (const client of Object.values(aws)) client.reset();
  aws.ssm
    .on(GetParameterCommand, { Name: '/redoubt/redoubt/control-plane' })
    .resolves({ Parameter: { Value: JSON.stringify(address) } });
};

const payload = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

/** Answers the list's items one after the other; the last one repeats. */
const inTurn =
  <Item>(items: readonly Item[]) =>
  (): Item => {
    const [item, ...rest] = items;
    if (item === undefined) throw new Error('the test gave no answer');
    items = rest.length === 0 ? items : rest;
    return item;
  };

/** The next invocations answer, or throw, this. */
export const givenAnswers = (...answers: (object | { throws: string; message: string })[]): void => {
  const next = inTurn(answers);
  aws.lambda.on(InvokeCommand).callsFake(async () => {
    const answer = next();
    return 'throws' in answer && 'message' in answer
      ? { FunctionError: 'Unhandled', Payload: payload({ errorType: answer.throws, errorMessage: answer.message }) }
      : { Payload: payload(answer) };
  });
};

/** Executions start, and the next looks at one of them see this; an Error is thrown. */
export const givenExecution = (...looks: (object | Error)[]): void => {
  aws.stepFunctions.on(StartExecutionCommand).callsFake(async (input: { stateMachineArn: string; name: string }) => ({
    executionArn: `${input.stateMachineArn.replace(':stateMachine:', ':execution:')}:${input.name}`,
  }));
  const next = inTurn(looks);
  aws.stepFunctions.on(DescribeExecutionCommand).callsFake(async () => {
    const look = next();
    if (look instanceof Error) throw look;
    return look;
  });
};

/** Newest first, as the command asks for it. */
export const givenHistory = (events: readonly object[]): void => {
  aws.stepFunctions.on(GetExecutionHistoryCommand).resolves({ events: events as HistoryEvent[] });
  aws.stepFunctions.on(SendTaskSuccessCommand).resolves({});
  aws.stepFunctions.on(SendTaskFailureCommand).resolves({});
};

export const approvals = (): unknown[] =>
  [
    ...aws.stepFunctions.commandCalls(SendTaskSuccessCommand),
    ...aws.stepFunctions.commandCalls(SendTaskFailureCommand),
  ].map(({ args }) => args[0].input);

export const noSuchExecution = Object.assign(new Error('none'), { name: 'ExecutionDoesNotExist' });

export const invocations = (): { readonly functionName: string | undefined; readonly input: unknown }[] =>
  aws.lambda.commandCalls(InvokeCommand).map(({ args }) => ({
    functionName: args[0].input.FunctionName,
    input: JSON.parse(Buffer.from(args[0].input.Payload as Uint8Array).toString('utf8')),
  }));

export const started = (): {
  readonly machine: string | undefined;
  readonly name: string | undefined;
  readonly input: unknown;
}[] =>
  aws.stepFunctions.commandCalls(StartExecutionCommand).map(({ args }) => ({
    machine: args[0].input.stateMachineArn,
    name: args[0].input.name,
    input: JSON.parse(args[0].input.input ?? 'null'),
  }));

export interface Ran {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
  /** What the status line showed, one after the other. */
  readonly statuses: readonly string[];
}

export interface Surroundings {
  readonly isTty?: boolean;
  readonly files?: Readonly<Record<string, string>>;
}

/** Runs `redoubt …` as its operator would, with a clock that only `sleep` moves. */
export const redoubt = async (line: string, { isTty = false, files = {} }: Surroundings = {}): Promise<Ran> => {
  const out: string[] = [];
  const err: string[] = [];
  const statuses: string[] = [];
  let now = Date.parse('2026-11-22T05:12:10Z');
  const exit = await runCli(line.split(' ').filter(Boolean), {
    terminal: {
      isTty,
      columns: 120,
      out: (text) => void out.push(text),
      err: (text) => void err.push(text),
      status: (text) => void statuses.push(text),
    },
    find: (options) => findControlPlane({ ...options, region: options.region ?? 'us-east-1' }),
    now: () => new Date(now),
    sleep: async (milliseconds) => {
      now += milliseconds;
    },
    randomSuffix: () => '3f9a1c',
    operator: () => 'ada@laptop',
    readText: async (path) => files[path] ?? '',
  });
  return { exit, out: out.join('\n'), err: err.join('\n'), statuses };
};
