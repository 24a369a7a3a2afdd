import type { Failure } from '../agent-protocol.ts';

/** The executions of the state machines. Every method throws `ServiceUnavailable` where Step Functions does not answer. */
export interface Executions {
  /** Step Functions forgets executions after 90 days: one it does not know has ended. */
  hasEnded(execution: string): Promise<boolean>;
  /** `false` where the task has ended already; then nothing changed. */
  failTask(taskToken: string, failure: Failure): Promise<boolean>;
}
