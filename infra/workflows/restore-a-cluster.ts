import { Duration } from 'aws-cdk-lib';
import type { ITopic } from 'aws-cdk-lib/aws-sns';
import {
  Chain,
  Choice,
  Condition,
  IntegrationPattern,
  Succeed,
  TaskInput,
  Timeout,
} from 'aws-cdk-lib/aws-stepfunctions';
import { SnsPublish } from 'aws-cdk-lib/aws-stepfunctions-tasks';
import type { Construct } from 'constructs';
import type { ErrorCode } from '#core/errors.ts';
import type { ControlFunction } from '../constructs/control-function.ts';
import { askTheHost } from './ask-the-host.ts';
import { callFunction } from './call-function.ts';
import { knownFailure } from './known-failure.ts';
import { SettleAFailure } from './settle-a-failure.ts';
import { settleTheRun } from './settle-the-run.ts';

export interface RestoreAClusterFunctions {
  readonly planRestore: ControlFunction;
  readonly askHost: ControlFunction;
  readonly settleRun: ControlFunction;
}

const APPROVAL_HOURS = 24;

const denied: ErrorCode = 'ApprovalDenied';

/**
 * What the form of Systems Manager starts with has every field, and a field left empty is a field not given. Its `to` is a plain id.
 * Anything else that is wrong is for the plan to refuse.
 */
const restoreRequest = (more = '') => `{% (
  $given := function($value) { $value != '' };
  $input := $sift($states.context.Execution.Input, $given);
  $to := $input.to;
  $merge([$input, {
    'to': $type($to) = 'string' and $to != 'latest' ? {'kind': 'backup', 'backup': $to} : $to,
    'target': $sift($input.target, $given),
    'run': $states.context.Execution.Name,
    'execution': $states.context.Execution.Id
  }${more}])
) %}`;

const preview = restoreRequest(", {'preview': true}");

/** That very backup on that very host, whatever was backed up or applied while somebody thought about it. */
const approved = restoreRequest(`, {
    'to': {'kind': 'backup', 'backup': $plan.instruction.steps[-1].backup},
    'target': $merge([$sift($input.target, $given), {'instance': $plan.instruction.host}])
  }`);

/** What an approver reads, with all it takes to answer. Who answers needs the permission to; the token alone is not enough. */
const approvalRequest = `{%
  'A restore waits for approval, for ${APPROVAL_HOURS} hours.\\n\\n'
  & 'Cluster: ' & $plan.instruction.cluster & '\\n'
  & 'Backup: ' & $plan.instruction.steps[-1].backup & '\\n'
  & 'To: ' & $plan.instruction.directory & ' on ' & $plan.instruction.host & ', mode ' & $plan.instruction.mode & '\\n'
  & 'Run: ' & $states.context.Execution.Name & '\\n\\n'
  & 'Approve:\\nredoubt approve ' & $states.context.Execution.Name & '\\n'
  & 'aws stepfunctions send-task-success --task-output {} --task-token ' & $states.context.Task.Token & '\\n\\n'
  & 'Deny:\\nredoubt approve ' & $states.context.Execution.Name & ' --deny "your reason"\\n'
  & 'aws stepfunctions send-task-failure --error ${denied} --cause "your reason" --task-token '
  & $states.context.Task.Token & '\\n'
%}`;

/**
 * Input: core/run-requests.ts, `restoreRequestSchema`. The name of the execution is the run's id. With `approval` somebody has to agree
 * to what would be done before anything is: whoever waits holds neither the cluster nor a key.
 */
export const restoreACluster = (scope: Construct, functions: RestoreAClusterFunctions, notices: ITopic): Chain => {
  const { planRestore, askHost, settleRun } = functions;
  const failure = new SettleAFailure(scope, settleRun, 'The restore failed');

  const planAs = (sentence: string, request: string) => {
    const task = callFunction(scope, sentence, planRestore, TaskInput.fromText(request), {
      plan: '{% $states.result.Payload %}',
    });
    failure.after(task);
    return task;
  };
  const plan = planAs('Plan the restore', restoreRequest());
  const look = planAs('See what it would do', preview);
  const planApproved = planAs('Plan what was approved', approved);

  // The token is also in the history of the execution, should nobody be subscribed to the topic.
  const approve = SnsPublish.jsonata(scope, 'Wait for an approval', {
    topic: notices,
    integrationPattern: IntegrationPattern.WAIT_FOR_TASK_TOKEN,
    taskTimeout: Timeout.duration(Duration.hours(APPROVAL_HOURS)),
    subject: 'A restore waits for approval',
    message: TaskInput.fromText(approvalRequest),
  });
  failure.afterWaiting(approve, knownFailure(denied, `nobody answered within ${APPROVAL_HOURS} hours`));

  const ask = askTheHost(scope, 'Ask the host to restore', askHost);
  failure.afterAsking(ask);

  const settle = settleTheRun(scope, settleRun);
  const done = Succeed.jsonata(scope, 'The restore is done', { outputs: '{% $answer %}' });

  const isApprovalAskedFor = Choice.jsonata(scope, 'Is an approval asked for?')
    .when(Condition.jsonata('{% $states.input.approval = true %}'), look)
    .otherwise(plan);

  look.next(approve).next(planApproved).next(ask);
  plan.next(ask);
  ask.next(settle).next(done);
  return Chain.start(isApprovalAskedFor);
};
