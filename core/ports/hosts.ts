import type { InstanceId } from '../ids.ts';

export interface AgentCommand {
  readonly instance: InstanceId;
  readonly agentDirectory: string;
  readonly instructionKey: string;
  /** SHA-256 of the instruction, lower-case hex. */
  readonly instructionSha256: string;
  /** After this many seconds Systems Manager ends the agent. */
  readonly executionSeconds: number;
}

/** How a command ended on its host. */
export interface CommandEnd {
  /** Systems Manager's detailed status without spaces, such as `Failed` or `DeliveryTimedOut`. */
  readonly status: string;
  /** Absent where the command never ran. */
  readonly exit?: number;
  /** The last lines of its output. */
  readonly tail: string;
}

/**
 * The hosts, through Systems Manager. Every method throws `HostNotManaged` where it does not know the instance and
 * `ServiceUnavailable` where it does not answer.
 */
export interface Hosts {
  /** The id of the command that starts the agent. */
  ask(command: AgentCommand): Promise<string>;
  /** A command that has ended or was never there is fine. */
  cancel(command: string): Promise<void>;
  /** `undefined` while it runs, or where Systems Manager does not know it (yet). */
  endOf(command: string, instance: InstanceId): Promise<CommandEnd | undefined>;
}
