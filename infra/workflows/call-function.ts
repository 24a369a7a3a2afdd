import type { TaskInput } from 'aws-cdk-lib/aws-stepfunctions';
import { LambdaInvoke } from 'aws-cdk-lib/aws-stepfunctions-tasks';
import type { Construct } from 'constructs';
import type { ControlFunction } from '../constructs/control-function.ts';
import { retryLambdaFaults, retryOutages } from './retries.ts';

/** A task that calls a function which may run again: outages are waited for. Its answer is `$states.result.Payload`. */
export const callFunction = (
  scope: Construct,
  sentence: string,
  { fn }: ControlFunction,
  payload: TaskInput,
  assign?: Readonly<Record<string, string>>,
): LambdaInvoke => {
  const task = LambdaInvoke.jsonata(scope, sentence, {
    lambdaFunction: fn,
    payload,
    retryOnServiceExceptions: false,
    ...(assign && { assign }),
  });
  task.addRetry(retryLambdaFaults);
  task.addRetry(retryOutages);
  return task;
};
