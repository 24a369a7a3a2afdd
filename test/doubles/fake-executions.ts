import type { Failure } from '#core/agent-protocol.ts';
import type { Executions } from '#core/ports/executions.ts';

export interface FakeExecutions extends Executions {
  /** ARNs of executions that have ended. */
  readonly ended: Set<string>;
  /** Tokens of tasks that wait. */
  readonly waiting: Set<string>;
  readonly failed: Map<string, Failure>;
}

export const fakeExecutions = (): FakeExecutions => {
  const ended = new Set<string>();
  const waiting = new Set<string>();
  const failed = new Map<string, Failure>();
  return {
    ended,
    waiting,
    failed,
    hasEnded: async (execution) => ended.has(execution),
    failTask: async (taskToken, failure) => {
      if (!waiting.delete(taskToken)) return false;
      failed.set(taskToken, failure);
      return true;
    },
  };
};
