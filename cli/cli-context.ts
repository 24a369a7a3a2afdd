import type { Command } from 'commander';
import type { ControlPlane, ControlPlaneOptions } from './control-plane.ts';
import type { Terminal } from './terminal.ts';

/** The world as commands see it. */
export interface CliContext {
  readonly terminal: Terminal;
  readonly find: (options: ControlPlaneOptions) => Promise<ControlPlane>;
  readonly now: () => Date;
  readonly sleep: (milliseconds: number) => Promise<void>;
  /** Six hex digits that make a run's name its own. */
  readonly randomSuffix: () => string;
  /** Who works here, as this machine knows them. */
  readonly operator: () => string;
  /** The text of a file; `-` is standard input. */
  readonly readText: (path: string) => Promise<string>;
}

/** The options that every command takes. */
export interface GlobalOptions extends ControlPlaneOptions {
  readonly json: boolean;
}

export const globalOptions = (command: Command): GlobalOptions => command.optsWithGlobals<GlobalOptions>();

/** The one result of a command: a JSON document for programs, a text for people. An empty text is not printed. */
export const answer = (context: CliContext, command: Command, document: unknown, text: string): void => {
  if (globalOptions(command).json) context.terminal.out(JSON.stringify(document, wireValue, 2));
  else if (text !== '') context.terminal.out(text);
};

/** LSNs are decimal strings in JSON, as everywhere on the wire. */
export const wireValue = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);
