import type { ErrorCode } from '../errors.ts';

/** What the control plane logs, by name: alarms and searches rely on these, so a name is never reused for something else. */
export type LogCode =
  | 'backup-planned'
  | 'restore-planned'
  | 'lease-taken-over'
  | 'manifest-adopted'
  | 'manifest-not-adopted'
  | 'leftovers-removed'
  | 'attempt-cleared'
  | 'stray-grant-revoked'
  | 'stray-grants-unknown'
  | 'undo-failed'
  | 'host-asked'
  | 'backup-recorded'
  | 'run-settled'
  | 'settle-step-failed'
  | 'command-ended'
  | 'command-ended-after-its-task'
  | 'cluster-applied'
  | 'cluster-stale'
  | 'keys-rewrapped'
  | 'keys-shredded'
  | 'invocation-failed';

/** What may stand beside a code. Never a key, a task token, a grant token or an instruction. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>> & {
  readonly error?: ErrorCode | undefined;
};

/** One line for each thing worth knowing later. Logging never fails. */
export interface Log {
  info(code: LogCode, fields: LogFields): void;
  /** Something a person should look at although the work went on. */
  warn(code: LogCode, fields: LogFields): void;
  error(code: LogCode, fields: LogFields): void;
}
