import { RedoubtError } from '#core/errors.ts';
import type { CommandEnd, Commands } from '#core/ports/commands.ts';
import type { AgentCommand, Hosts } from '#core/ports/hosts.ts';

export interface FakeHosts extends Hosts, Commands {
  readonly asked: { readonly id: string; readonly command: AgentCommand }[];
  readonly cancelled: string[];
  readonly ends: Map<string, CommandEnd>;
  /** Instances that Systems Manager does not know. */
  readonly unmanaged: Set<string>;
}

export const fakeHosts = (): FakeHosts => {
  const fake: FakeHosts = {
    asked: [],
    cancelled: [],
    ends: new Map(),
    unmanaged: new Set(),
    ask: async (command) => {
      if (fake.unmanaged.has(command.instance))
        throw new RedoubtError('HostNotManaged', `Systems Manager does not know ${command.instance}`);
      const id = `command-${fake.asked.length + 1}`;
      fake.asked.push({ id, command });
      return id;
    },
    cancel: async (command) => {
      fake.cancelled.push(command);
    },
    endOf: async (command) => fake.ends.get(command),
  };
  return fake;
};
