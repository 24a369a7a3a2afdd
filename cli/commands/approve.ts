import { Command } from 'commander';
import { RedoubtError } from '#core/errors.ts';
import { answer, type CliContext, globalOptions } from '../cli-context.ts';
import { parseRunId } from '../parse-arguments.ts';

export const approveCommand = (context: CliContext): Command =>
  new Command('approve')
    .description('agree to a restore that waits for it, or refuse it with --deny')
    .argument('<run>')
    .option('--deny <reason>', 'refuse it; the reason is kept with the run')
    .action(async (name: string, options: { readonly deny?: string }, command) => {
      const run = parseRunId(name);
      const controlPlane = await context.find(globalOptions(command));
      const execution = controlPlane.executionOf('restore', run);
      const state = await controlPlane.execution(execution);
      if (state === undefined) throw new RedoubtError('UnknownRun', `there is no restore ${run}`);
      const token = state.status === 'running' ? await controlPlane.approvalToken(execution) : undefined;
      if (token === undefined) throw new RedoubtError('InvalidInput', `${run} does not wait for an approval`);
      if (options.deny === undefined) await controlPlane.approve(token);
      else await controlPlane.deny(token, options.deny);
      const approved = options.deny === undefined;
      answer(context, command, { run, approved }, `${run} ${approved ? 'approved' : 'denied'}`);
    });
