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

/** The database hosts, as far as they can be asked for something. */
export interface Hosts {
  /**
   * Starts the agent on a host; the id of the command. Throws `HostNotManaged` where Systems Manager does not know the
   * instance or may not ask it, and `ServiceUnavailable` where it does not answer.
   */
  ask(command: AgentCommand): Promise<string>;
}
