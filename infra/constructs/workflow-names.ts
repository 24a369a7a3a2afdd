import { ArnFormat, Stack } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import type { ControlFunction } from './control-function.ts';

const statesArn = (scope: Construct, resource: string, resourceName: string): string =>
  Stack.of(scope).formatArn({ service: 'states', resource, resourceName, arnFormat: ArnFormat.COLON_RESOURCE_NAME });

/**
 * The names of the state machines, fixed before they exist: the machines call the functions, and the functions ask about the
 * machines, so one of the two has to be known by name.
 */
export class WorkflowNames extends Construct {
  readonly backUp: string;
  readonly restore: string;
  readonly backUpArn: string;
  readonly restoreArn: string;

  constructor(scope: Construct, id: string, props: { readonly controlPlane: string }) {
    super(scope, id);
    this.backUp = `${props.controlPlane}-back-up`;
    this.restore = `${props.controlPlane}-restore`;
    this.backUpArn = statesArn(this, 'stateMachine', this.backUp);
    this.restoreArn = statesArn(this, 'stateMachine', this.restore);
  }

  /** Whether an execution has ended. */
  grantLookAtExecutions(fn: ControlFunction): void {
    fn.allow({
      actions: ['states:DescribeExecution'],
      resources: [statesArn(this, 'execution', `${this.backUp}:*`), statesArn(this, 'execution', `${this.restore}:*`)],
      wildcards: 'Any execution of the two state machines may hold the lease.',
    });
  }

  /** Lets a function tell the executions of the two apart. */
  tellBackUp(fn: ControlFunction): void {
    fn.addEnvironment('BACKUP_STATE_MACHINE_ARN', this.backUpArn);
  }

  /** Ends a task whose host will not answer. */
  grantFailTasks(fn: ControlFunction): void {
    fn.allow({ actions: ['states:SendTaskFailure'], resources: [this.backUpArn, this.restoreArn] });
  }
}
