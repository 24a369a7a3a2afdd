import type { Failure } from '#core/agent-protocol.ts';
import { type ErrorCode, errorKind } from '#core/errors.ts';

export interface KnownFailure {
  readonly error: ErrorCode;
  /** A `Failure` as JSON, as an agent would have sent it. */
  readonly cause: string;
}

/** A failure that only the state machine can see. */
export const knownFailure = (code: ErrorCode, detail: string): KnownFailure => {
  const failure: Failure = { code, detail, hint: errorKind(code).hint };
  return { error: code, cause: JSON.stringify(failure) };
};
