import {
  DescribeExecutionCommand,
  ExecutionDoesNotExist,
  type ExecutionStatus,
  InvalidToken,
  SendTaskFailureCommand,
  SFNClient,
  TaskDoesNotExist,
  TaskTimedOut,
} from '@aws-sdk/client-sfn';
import { mockClient } from 'aws-sdk-client-mock';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Failure } from '#core/agent-protocol.ts';
import { stepFunctionsExecutions } from '#functions/adapters/step-functions-executions.ts';
import { executionOf } from '../control-plane-under-test.ts';

const sfn = mockClient(SFNClient);
beforeEach(() => {
  sfn.reset();
});

const $metadata = {};
const executions = stepFunctionsExecutions(new SFNClient({ region: 'us-east-1' }));

describe('executions', () => {
  it.each<[ExecutionStatus, boolean]>([
    ['RUNNING', false],
    ['PENDING_REDRIVE', false],
    ['SUCCEEDED', true],
    ['FAILED', true],
    ['TIMED_OUT', true],
    ['ABORTED', true],
  ])('that are %s have ended: %s', async (status, hasEnded) => {
    sfn.on(DescribeExecutionCommand).resolves({ status });
    expect(await executions.hasEnded(executionOf('run-1'))).toBe(hasEnded);
  });

  it('have ended where Step Functions has forgotten them', async () => {
    sfn.on(DescribeExecutionCommand).rejects(new ExecutionDoesNotExist({ $metadata, message: '' }));
    expect(await executions.hasEnded(executionOf('run-1'))).toBe(true);
  });

  it('are never taken for ended because nobody answered', async () => {
    sfn.on(DescribeExecutionCommand).rejects(Object.assign(new Error(), { name: 'ThrottlingException' }));
    await expect(executions.hasEnded(executionOf('run-1'))).rejects.toMatchObject({ name: 'ServiceUnavailable' });
  });
});

describe('failing a task', () => {
  const failure: Failure = { code: 'AgentDied', detail: 'exit code 137', hint: 'h' };

  it('gives the name as the error and all of it as the cause', async () => {
    sfn.on(SendTaskFailureCommand).resolves({});
    expect(await executions.failTask('token', failure)).toBe(true);
    expect(sfn.commandCalls(SendTaskFailureCommand)[0]?.args[0].input).toEqual({
      taskToken: 'token',
      error: 'AgentDied',
      cause: JSON.stringify(failure),
    });
  });

  it.each([TaskDoesNotExist, TaskTimedOut, InvalidToken])('that has ended already is no error (%o)', async (Ended) => {
    sfn.on(SendTaskFailureCommand).rejects(new Ended({ $metadata, message: '' }));
    expect(await executions.failTask('token', failure)).toBe(false);
  });

  it('does not repeat the token where Step Functions does', async () => {
    sfn.on(SendTaskFailureCommand).rejects(new Error("1 validation error: 'AAAA-secret' at 'taskToken'"));
    const error = await executions.failTask('AAAA-secret', failure).catch((thrown: Error) => thrown);
    expect(error).toMatchObject({ name: 'ServiceUnavailable' });
    expect((error as Error).message).not.toContain('AAAA-secret');
  });
});
