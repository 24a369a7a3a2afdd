import { Command, Option } from 'commander';
import { type CliContext, globalOptions } from '../cli-context.ts';
import { parseClusterId } from '../parse-arguments.ts';
import { startRun } from '../start-run.ts';

interface Options {
  readonly full?: boolean;
  readonly incremental?: boolean;
  readonly reason?: string;
  readonly wait: boolean;
}

export const backupCommand = (context: CliContext): Command =>
  new Command('backup')
    .description('take a backup now: an increment where the chain allows one, else a full')
    .argument('<cluster>')
    .addOption(new Option('--full', 'begin a new chain').conflicts('incremental'))
    .addOption(new Option('--incremental', 'continue the chain although the policy wants a full').conflicts('full'))
    .option('--reason <text>', 'noted beside the backup')
    .option('--wait', 'show its progress and wait for its end', false)
    .action(async (name: string, options: Options, command) => {
      const cluster = parseClusterId(name);
      const kind = options.full ? 'full' : options.incremental ? 'incremental' : 'auto';
      const controlPlane = await context.find(globalOptions(command));
      const input = { cluster, kind, ...(options.reason && { reason: options.reason }) };
      await startRun({ context, command, controlPlane, workflow: 'backup', cluster, input, wait: options.wait });
    });
