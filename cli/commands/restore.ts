import { Command, Option } from 'commander';
import { restoreModeSchema } from '#core/agent-protocol.ts';
import { type CliContext, globalOptions } from '../cli-context.ts';
import { parseClusterId, parseRestorePoint } from '../parse-arguments.ts';
import { startRun } from '../start-run.ts';

interface Options {
  readonly to: string;
  readonly instance?: string;
  readonly mode: string;
  readonly directory?: string;
  readonly confirm?: string;
  readonly approval: boolean;
  readonly wait: boolean;
}

export const restoreCommand = (context: CliContext): Command =>
  new Command('restore')
    .description('restore a cluster to a host')
    .argument('<cluster>')
    .requiredOption(
      '--to <point>',
      '"latest", a backup id, or a time with its zone: the newest backup that had ended by then',
    )
    .option('--instance <id>', 'the host to restore to (else the one that is backed up)')
    .addOption(
      new Option(
        '--mode <mode>',
        'prepare-only leaves a ready directory; replace puts it in the place of the data directory',
      )
        .choices(restoreModeSchema.options)
        .default('prepare-only'),
    )
    .option(
      '--directory <path>',
      'where to restore to: empty or absent; not with replace, which knows the data directory',
    )
    .option('--confirm <cluster>', 'the name of the cluster again, for replace')
    .option('--approval', 'wait until somebody has agreed to the plan: redoubt approve <run>', false)
    .option('--wait', 'show its progress and wait for its end', false)
    .action(async (name: string, options: Options, command) => {
      const cluster = parseClusterId(name);
      const to = parseRestorePoint(options.to);
      const controlPlane = await context.find(globalOptions(command));
      const target = {
        mode: options.mode,
        ...(options.instance && { instance: options.instance }),
        ...(options.directory && { directory: options.directory }),
      };
      const input = {
        cluster,
        to,
        target,
        ...(options.confirm && { confirm: options.confirm }),
        ...(options.approval && { approval: true }),
      };
      await startRun({ context, command, controlPlane, workflow: 'restore', cluster, input, wait: options.wait });
    });
