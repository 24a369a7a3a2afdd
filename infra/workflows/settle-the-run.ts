import { TaskInput } from 'aws-cdk-lib/aws-stepfunctions';
import type { LambdaInvoke } from 'aws-cdk-lib/aws-stepfunctions-tasks';
import type { Construct } from 'constructs';
import type { ControlFunction } from '../constructs/control-function.ts';
import { callFunction } from './call-function.ts';

/** Ends a run that went well. Not caught: what was done is done, and the rule on failed executions settles the run once more. */
export const settleTheRun = (scope: Construct, settleRun: ControlFunction): LambdaInvoke =>
  callFunction(
    scope,
    'Settle the run',
    settleRun,
    TaskInput.fromObject({
      run: '{% $states.context.Execution.Name %}',
      execution: '{% $states.context.Execution.Id %}',
      outcome: 'succeeded',
      answer: '{% $answer %}',
    }),
  );
