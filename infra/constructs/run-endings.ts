import { Duration } from 'aws-cdk-lib';
import { Rule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import { Construct } from 'constructs';
import type { ControlFunction } from './control-function.ts';
import type { HostAgent } from './host-agent.ts';
import type { WorkflowNames } from './workflow-names.ts';

export interface RunEndingsProps {
  readonly agent: HostAgent;
  readonly workflows: WorkflowNames;
  /** Is told of commands that ended without an answer of the agent. */
  readonly reportCommandEnd: ControlFunction;
  /** Is told of executions that ended without settling their run. */
  readonly settleRun: ControlFunction;
}

/** Statuses of an invocation after which nobody will answer any more. Systems Manager user guide, "Understanding command statuses". */
const ENDED_BADLY = [
  'Failed',
  'TimedOut',
  'Cancelled',
  'DeliveryTimedOut',
  'ExecutionTimedOut',
  'Undeliverable',
  'Terminated',
  'InvalidPlatform',
  'AccessDenied',
];

/** A function that could not be reached for this long has missed what it was told; the heartbeat and the next plan make up for it. */
const KEEP_TRYING = Duration.hours(2);

/** What ends outside of a state machine: a command that never ran or died, and an execution that was stopped or timed out. */
export class RunEndings extends Construct {
  constructor(scope: Construct, id: string, { agent, workflows, reportCommandEnd, settleRun }: RunEndingsProps) {
    super(scope, id);
    new Rule(this, 'CommandEnded', {
      description:
        'A command that runs the agent ended without success: its task is failed at once, with the right name',
      eventPattern: {
        source: ['aws.ssm'],
        detailType: ['EC2 Command Invocation Status-change Notification'],
        detail: { 'document-name': [agent.runDocument], status: ENDED_BADLY },
      },
      targets: [new LambdaFunction(reportCommandEnd.fn, { maxEventAge: KEEP_TRYING })],
    });
    new Rule(this, 'ExecutionEnded', {
      description: 'An execution ended without success: its command is cancelled and what it holds is given back',
      eventPattern: {
        source: ['aws.states'],
        detailType: ['Step Functions Execution Status Change'],
        detail: {
          stateMachineArn: [workflows.backUpArn, workflows.restoreArn],
          status: ['ABORTED', 'TIMED_OUT', 'FAILED'],
        },
      },
      targets: [new LambdaFunction(settleRun.fn, { maxEventAge: KEEP_TRYING })],
    });
  }
}
