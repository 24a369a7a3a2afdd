import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { hostname, userInfo } from 'node:os';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, CommanderError } from 'commander';
import { defaultControlPlaneName } from '#core/control-plane-address.ts';
import { insteadOfEngineWord } from '#core/engine-words.ts';
import { asRedoubtError, errorKind, RedoubtError } from '#core/errors.ts';
import type { CliContext } from './cli-context.ts';
import { approveCommand } from './commands/approve.ts';
import { backupCommand } from './commands/backup.ts';
import { backupsCommand } from './commands/backups.ts';
import { clusterCommand } from './commands/cluster.ts';
import { clustersCommand } from './commands/clusters.ts';
import { keysCommand } from './commands/keys.ts';
import { restoreCommand } from './commands/restore.ts';
import { runCommand } from './commands/run.ts';
import { runsCommand } from './commands/runs.ts';
import { watchCommand } from './commands/watch.ts';
import { findControlPlane } from './control-plane.ts';
import { processTerminal } from './terminal.ts';

/** The real world. */
export const processContext = (): CliContext => ({
  terminal: processTerminal(),
  find: findControlPlane,
  now: () => new Date(),
  sleep: async (milliseconds) => void (await sleep(milliseconds)),
  randomSuffix: () => randomBytes(3).toString('hex'),
  operator: () => `${userInfo().username}@${hostname()}`,
  readText: async (path) => {
    if (path === '-') return await text(process.stdin);
    return await readFile(path, 'utf8').catch((error: Error) => {
      throw new RedoubtError('InvalidInput', `${path} cannot be read: ${error.message}`, { cause: error });
    });
  },
});

/**
 * Runs one command line and answers its exit code: 0, or the one of the error (`core/errors.ts`), which is printed as
 * `error: CODE: detail` and `hint: …` on stderr, and with `--json` as the one document on stdout too.
 */
export const runCli = async (argv: readonly string[], context: CliContext): Promise<number> => {
  try {
    await createProgram(context).parseAsync([...argv], { from: 'user' });
    return 0;
  } catch (thrown) {
    // Help and version were asked for and given.
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0;
    const error =
      thrown instanceof CommanderError
        ? new RedoubtError('InvalidInput', complaint(thrown), { cause: thrown })
        : asRedoubtError(thrown);
    const { code, detail } = error;
    const hint = thrown instanceof CommanderError ? 'See `redoubt --help`.' : error.hint;
    if (argv.includes('--json')) context.terminal.out(JSON.stringify({ error: { code, detail, hint } }, null, 2));
    context.terminal.err(`error: ${code}: ${detail}\nhint: ${hint}`);
    return errorKind(code).exit;
  }
};

const complaint = ({ code, message }: CommanderError): string =>
  // Its help has been shown on stderr.
  code === 'commander.help' ? 'a command is missing' : withAnswer(message.replace(/^error: /, ''));

/** With what does in Redoubt what an option of the engine does there. */
const withAnswer = (message: string): string => {
  const instead = insteadOfEngineWord(/^unknown option '--([^'=]+)/.exec(message)?.[1] ?? '');
  // Without the nearest of our own options, which commander would suggest on the next line.
  return instead ? `${message.split('\n')[0]}: that is an option of the engine: ${instead}` : message;
};

const createProgram = (context: CliContext): Command => {
  const program = new Command('redoubt')
    .description('Encrypted, incremental physical backups of MySQL and MariaDB servers, proven to restore.')
    .option('--json', 'print one JSON document instead of text', false)
    .option('--name <name>', 'the control plane, as its config file names it', defaultControlPlaneName)
    .option('--region <region>', 'AWS region (else AWS_REGION or the profile)')
    .option('--profile <profile>', 'AWS profile (else AWS_PROFILE)')
    .addHelpText('after', '\nExit codes and errors: docs/cli.md, docs/runbook.md.');
  for (const command of [
    clusterCommand(context),
    clustersCommand(context),
    backupCommand(context),
    backupsCommand(context),
    restoreCommand(context),
    approveCommand(context),
    watchCommand(context),
    runsCommand(context),
    runCommand(context),
    keysCommand(context),
  ])
    program.addCommand(command);
  settle(program, context);
  return program;
};

/** Nothing below ends the process or prints by itself: errors come up to `runCli`. */
const settle = (command: Command, context: CliContext): void => {
  command
    .exitOverride()
    .configureOutput({
      writeOut: (shown) => context.terminal.out(shown.trimEnd()),
      writeErr: (shown) => context.terminal.err(shown.trimEnd()),
      outputError: () => undefined,
    })
    .showHelpAfterError(false);
  for (const child of command.commands) settle(child, context);
};
