import type { Failure } from '#core/agent-protocol.ts';
import { type ErrorCode, errorCodeOfExit, errorKind } from '#core/errors.ts';
import type { CommandEnd } from '#core/ports/commands.ts';

/** The shell's ways to say that there is no such program, or that it cannot be run. */
const SHELL_MISSING = new Set([126, 127]);

/** Detailed statuses of Systems Manager where the command never reached the host. */
const UNDELIVERED = new Set([
  'DeliveryTimedOut',
  'Undeliverable',
  'Terminated',
  'InvalidPlatform',
  'AccessDenied',
  'TimedOut',
]);

/** Not `ExecutionTimedOut`: the SSM agent takes exit code 137 for its own kill, so an agent that anybody killed shows as that. */
const ENDED_EARLY = new Set(['Cancelled', 'Canceled']);

const codeOf = ({ status, exit }: CommandEnd): ErrorCode => {
  if (ENDED_EARLY.has(status)) return 'RunCancelled';
  if (exit === undefined) return UNDELIVERED.has(status) ? 'HostUnreachable' : 'AgentDied';
  if (SHELL_MISSING.has(exit)) return 'AgentMissing';
  return errorCodeOfExit(exit) ?? 'AgentDied';
};

/**
 * Characters of the command's output, from its end, that the failure keeps. A task's failure takes a cause of 32,768 characters, and
 * JSON makes up to six of one (source: Step Functions API reference, "SendTaskFailure").
 */
const TAIL_CHARACTERS = 4000;

/**
 * Why a command ended, for the task that waits for its agent. The agent answers before it exits, so whoever still waits then
 * waits in vain: an exit code of ours names its error, anything else means that it died, even code 0.
 */
export const failureOfCommand = (end: CommandEnd): Failure => {
  const code = codeOf(end);
  const how = end.exit === undefined ? end.status : `${end.status}, exit code ${end.exit}`;
  const tail = end.tail.slice(-TAIL_CHARACTERS);
  return {
    code,
    detail: tail ? `the command ended: ${how}\n${tail}` : `the command ended: ${how}`,
    hint: errorKind(code).hint,
  };
};
