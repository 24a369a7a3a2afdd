import { z } from 'zod';
import { failureSchema } from '#core/agent-protocol.ts';
import { isErrorCode, RedoubtError } from '#core/errors.ts';

/** What Lambda answers when a function threw; also what Step Functions keeps of it as the cause. */
const thrownSchema = z.object({ errorType: z.string(), errorMessage: z.string() });

/** An error a function threw, under its own name where it is one of ours. */
export const lambdaFailure = (payload: unknown): RedoubtError => {
  const thrown = thrownSchema.safeParse(payload);
  if (!thrown.success) return new RedoubtError('Unexpected', `a function failed: ${JSON.stringify(payload)}`);
  const { errorType, errorMessage } = thrown.data;
  return isErrorCode(errorType)
    ? new RedoubtError(errorType, errorMessage)
    : new RedoubtError('Unexpected', `${errorType}: ${errorMessage}`);
};

/** The end of a failed execution: `error` is a name, `cause` what the agent or a function said, or plain words. */
export const executionFailure = (error: string | undefined, cause: string | undefined): RedoubtError => {
  const detail = detailOf(cause);
  return error !== undefined && isErrorCode(error)
    ? new RedoubtError(error, detail)
    : new RedoubtError('Unexpected', [error, detail].filter(Boolean).join(': '));
};

const detailOf = (cause: string | undefined): string => {
  if (cause === undefined) return '';
  let parsed: unknown;
  try {
    parsed = JSON.parse(cause);
  } catch {
    return cause;
  }
  const failure = failureSchema.safeParse(parsed);
  if (failure.success) return failure.data.detail;
  const thrown = thrownSchema.safeParse(parsed);
  return thrown.success ? thrown.data.errorMessage : cause;
};
