import {
  DescribeExecutionCommand,
  ExecutionDoesNotExist,
  InvalidToken,
  SendTaskFailureCommand,
  SFNClient,
  TaskDoesNotExist,
  TaskTimedOut,
} from '@aws-sdk/client-sfn';
import type { Executions } from '#core/ports/executions.ts';
import { serviceFailure } from './service-failure.ts';

const ALIVE = new Set(['RUNNING', 'PENDING_REDRIVE']);

export const stepFunctionsExecutions = (client = new SFNClient({})): Executions => ({
  async hasEnded(execution) {
    try {
      const { status } = await client.send(new DescribeExecutionCommand({ executionArn: execution }));
      return status !== undefined && !ALIVE.has(status);
    } catch (error) {
      if (error instanceof ExecutionDoesNotExist) return true;
      throw serviceFailure('Step Functions', error);
    }
  },

  async failTask(taskToken, failure) {
    try {
      await client.send(new SendTaskFailureCommand({ taskToken, error: failure.code, cause: JSON.stringify(failure) }));
      return true;
    } catch (error) {
      const ended = error instanceof TaskDoesNotExist || error instanceof TaskTimedOut || error instanceof InvalidToken;
      if (ended) return false;
      throw serviceFailure('Step Functions', error);
    }
  },
});
