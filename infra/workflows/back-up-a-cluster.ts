import { type Chain, Succeed, TaskInput } from 'aws-cdk-lib/aws-stepfunctions';
import type { Construct } from 'constructs';
import { fallbackErrors } from '#core/errors.ts';
import type { ControlFunction } from '../constructs/control-function.ts';
import { askTheHost } from './ask-the-host.ts';
import { callFunction } from './call-function.ts';
import { originalError } from './original-error.ts';
import { SettleAFailure } from './settle-a-failure.ts';
import { settleTheRun } from './settle-the-run.ts';

export interface BackUpAClusterFunctions {
  readonly planBackup: ControlFunction;
  readonly askHost: ControlFunction;
  readonly recordBackup: ControlFunction;
  readonly settleRun: ControlFunction;
}

/**
 * Input: core/run-requests.ts, `backupRequestSchema`. The name of the execution is the run's id.
 *
 * Where the host says that the chain cannot go on, a full is taken instead, once and in the same execution: the second time it is
 * asked, those errors are failures like any other.
 */
export const backUpACluster = (scope: Construct, functions: BackUpAClusterFunctions): Chain => {
  const { planBackup, askHost, recordBackup, settleRun } = functions;
  const failure = new SettleAFailure(scope, settleRun, 'The backup failed');

  const plan = callFunction(
    scope,
    'Plan the backup',
    planBackup,
    TaskInput.fromText(`{% $merge([$states.input, {
      'run': $states.context.Execution.Name,
      'execution': $states.context.Execution.Id,
      'attempt': 1
    }]) %}`),
    { plan: '{% $states.result.Payload %}' },
  );
  failure.after(plan);

  const planFull = callFunction(
    scope,
    'Plan a full instead',
    planBackup,
    TaskInput.fromText(`{% $merge([$states.context.Execution.Input, {
      'run': $states.context.Execution.Name,
      'execution': $states.context.Execution.Id,
      'attempt': 2,
      'refusal': {'code': $error, 'detail': $cause = '' ? '' : $parse($cause).detail}
    }]) %}`),
    { plan: '{% $states.result.Payload %}' },
  );
  failure.after(planFull);

  const ask = askTheHost(scope, 'Ask the host to back up', askHost);
  ask.addCatch(planFull, { errors: [...fallbackErrors], assign: originalError });
  failure.afterAsking(ask);

  const askForFull = askTheHost(scope, 'Ask the host for a full instead', askHost);
  failure.afterAsking(askForFull);

  const record = callFunction(
    scope,
    'Record the backup',
    recordBackup,
    TaskInput.fromObject({ run: '{% $states.context.Execution.Name %}', answer: '{% $answer %}' }),
    { recorded: '{% $states.result.Payload %}' },
  );
  failure.after(record);

  const settle = settleTheRun(scope, settleRun);
  const done = Succeed.jsonata(scope, 'The backup is restorable', { outputs: '{% $recorded %}' });

  planFull.next(askForFull).next(record);
  return plan.next(ask).next(record).next(settle).next(done);
};
