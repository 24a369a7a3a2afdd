import { z } from 'zod';
import { failureSchema } from '#core/agent-protocol.ts';
import { type ErrorCode, isErrorCode } from '#core/errors.ts';

/** What Lambda writes as the cause of an error a function threw. */
const thrownSchema = z.object({ errorType: z.string().optional(), errorMessage: z.string() });

/** Names that Step Functions and Lambda give, in our words. */
const foreign: Readonly<Record<string, ErrorCode>> = {
  'States.HeartbeatTimeout': 'HostSilent',
  'States.Timeout': 'RunCancelled',
  'Sandbox.Timedout': 'ServiceUnavailable',
};

/** DynamoDB items are small, and so is a person's patience. */
const DETAIL_CHARACTERS = 4000;

const json = (text: string | undefined): unknown => {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return undefined;
  }
};

export interface NamedFailure {
  readonly code: ErrorCode;
  readonly detail: string;
}

/**
 * The named error behind a state machine's error and cause, and its detail in words. The cause of an agent's failure and that
 * of a function's are JSON; anything that is not ours becomes `Unexpected` with all that is known of it.
 */
export const namedFailure = (error: string | undefined, cause: string | undefined): NamedFailure => {
  const parsed = json(cause);
  const agent = failureSchema.safeParse(parsed);
  const thrown = thrownSchema.safeParse(parsed);
  const words = agent.data?.detail ?? thrown.data?.errorMessage ?? cause ?? '';
  const name = error ?? agent.data?.code ?? thrown.data?.errorType ?? '';
  const code = isErrorCode(name)
    ? name
    : (foreign[name] ?? (name.startsWith('Lambda.') ? 'ServiceUnavailable' : 'Unexpected'));
  const detail = isErrorCode(name) ? words : [name, words].filter(Boolean).join(': ');
  return { code, detail: detail.slice(0, DETAIL_CHARACTERS) };
};
