import type { ErrorCode } from '#core/errors.ts';

export interface LogFinding {
  readonly code: ErrorCode;
  readonly line: string;
}

/** Completed below. */
export const screenLine = (_line: string): LogFinding | undefined => undefined;
