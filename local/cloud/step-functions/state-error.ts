/** An error as a state reports it: the name that Retry and Catch match, and the cause. */
export class StateError extends Error {
  readonly error: string;
  /** A missed heartbeat is reported as `States.Timeout`, yet `States.HeartbeatTimeout` in ErrorEquals matches it too. */
  readonly heartbeatMissed: boolean;

  constructor(error: string, cause?: string, { heartbeatMissed = false } = {}) {
    super(cause);
    this.name = error;
    this.error = error;
    this.heartbeatMissed = heartbeatMissed;
  }

  /** `Error` and `Cause`, as `$states.errorOutput` has them; a cause that nobody gave is absent. */
  get output(): { readonly Error: string; readonly Cause?: string } {
    return this.message === '' ? { Error: this.error } : { Error: this.error, Cause: this.message };
  }

  /** Whether a retrier's or catcher's ErrorEquals names this error (Developer Guide, "Handling errors in Step Functions workflows"). */
  isNamedBy(errorEquals: readonly string[]): boolean {
    const terminal = this.error === 'States.DataLimitExceeded' || this.error === 'States.Runtime';
    return errorEquals.some((name) => {
      if (name === this.error) {
        return true;
      }
      switch (name) {
        case 'States.ALL':
          return !terminal;
        case 'States.TaskFailed':
          return !terminal && this.error !== 'States.Timeout';
        case 'States.HeartbeatTimeout':
          return this.heartbeatMissed;
        default:
          return false;
      }
    });
  }
}
