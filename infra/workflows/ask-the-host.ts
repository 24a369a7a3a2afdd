import { IntegrationPattern, TaskInput, Timeout } from 'aws-cdk-lib/aws-stepfunctions';
import { LambdaInvoke } from 'aws-cdk-lib/aws-stepfunctions-tasks';
import type { Construct } from 'constructs';
import type { ControlFunction } from '../constructs/control-function.ts';
import { retryLambdaFaults } from './retries.ts';

/**
 * A task that ends when the agent answers with its token: `$plan` is what was planned, `$answer` what the agent says. Outages are
 * not retried here: the agent's own answer may have their names, and the host must not do its work twice.
 */
export const askTheHost = (scope: Construct, sentence: string, { fn }: ControlFunction): LambdaInvoke => {
  const task = LambdaInvoke.jsonata(scope, sentence, {
    lambdaFunction: fn,
    integrationPattern: IntegrationPattern.WAIT_FOR_TASK_TOKEN,
    payload: TaskInput.fromObject({
      taskToken: '{% $states.context.Task.Token %}',
      instruction: '{% $plan.instruction %}',
      agentDirectory: '{% $plan.agentDirectory %}',
    }),
    heartbeatTimeout: Timeout.jsonata('{% $plan.heartbeatSeconds %}'),
    taskTimeout: Timeout.jsonata('{% $plan.timeoutSeconds %}'),
    retryOnServiceExceptions: false,
    assign: { answer: '{% $states.result %}' },
  });
  task.addRetry(retryLambdaFaults);
  return task;
};
