import { type CatchProps, Errors, Fail, type IChainable, TaskInput } from 'aws-cdk-lib/aws-stepfunctions';
import type { LambdaInvoke } from 'aws-cdk-lib/aws-stepfunctions-tasks';
import type { Construct } from 'constructs';
import type { ControlFunction } from '../constructs/control-function.ts';
import { callFunction } from './call-function.ts';
import { type KnownFailure, knownFailure } from './known-failure.ts';
import { originalError } from './original-error.ts';

/** A state that can fail. */
interface Fallible {
  addCatch(handler: IChainable, props: CatchProps): unknown;
}

/** Where every failure of a workflow ends: the run is settled, and the execution fails with the error it was failed by. */
export class SettleAFailure {
  readonly #settle: LambdaInvoke;

  constructor(scope: Construct, settleRun: ControlFunction, failed: string) {
    const fail = Fail.jsonata(scope, failed, { error: '{% $error %}', cause: '{% $cause %}' });
    this.#settle = callFunction(
      scope,
      'Settle the failed run',
      settleRun,
      // The cluster and the time are for a run that failed before its plan was written.
      TaskInput.fromText(`{% {
        'run': $states.context.Execution.Name,
        'execution': $states.context.Execution.Id,
        'outcome': 'failed',
        'cluster': $states.context.Execution.Input.cluster,
        'startedAt': $states.context.Execution.StartTime,
        'error': $error,
        'cause': $cause
      } %}`),
    );
    // The first error must not be lost behind a second one; the rule on failed executions settles the run once more.
    this.#settle.addCatch(fail, { errors: [Errors.ALL] });
    this.#settle.next(fail);
  }

  /** Whatever `task` fails with leads here. */
  after(task: Fallible): void {
    task.addCatch(this.#settle, { errors: [Errors.ALL], assign: originalError });
  }

  /** As `after`, for a task that waits for a host: silence and the time limit have names of their own. */
  afterAsking(task: Fallible): void {
    task.addCatch(this.#settle, {
      errors: [Errors.HEARTBEAT_TIMEOUT],
      assign: knownFailure('HostSilent', 'the agent was not heard of within the heartbeat time'),
    });
    this.afterWaiting(task, knownFailure('RunCancelled', 'the run reached its time limit before the host answered'));
  }

  /** As `after`, but a task that reaches its time limit fails as `late`. */
  afterWaiting(task: Fallible, late: KnownFailure): void {
    task.addCatch(this.#settle, { errors: [Errors.TIMEOUT], assign: { ...late } });
    this.after(task);
  }
}
