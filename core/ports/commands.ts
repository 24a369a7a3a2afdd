import type { InstanceId } from '../ids.ts';

/** How a command ended on its host. */
export interface CommandEnd {
  /** Systems Manager's detailed status without spaces, such as `Failed` or `DeliveryTimedOut`. */
  readonly status: string;
  /** Absent where the command never ran. */
  readonly exit?: number;
  /** The last lines of its output. */
  readonly tail: string;
}

/** The commands that hosts were given. Every method throws `ServiceUnavailable` where Systems Manager does not answer. */
export interface Commands {
  /** A command that has ended or was never there is fine. */
  cancel(command: string): Promise<void>;
  /** `undefined` while it runs, or where Systems Manager does not know it (yet). */
  endOf(command: string, instance: InstanceId): Promise<CommandEnd | undefined>;
}
