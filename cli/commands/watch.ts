import { Command } from 'commander';
import { RedoubtError } from '#core/errors.ts';
import { answer, type CliContext, globalOptions } from '../cli-context.ts';
import { parseRunId } from '../parse-arguments.ts';
import { runView } from '../show/run-view.ts';
import { watchRun } from '../watch-run.ts';

export const watchCommand = (context: CliContext): Command =>
  new Command('watch')
    .description('follow a run to its end; the exit code is that of its error')
    .argument('<run>')
    .action(async (name: string, _options, command) => {
      const run = parseRunId(name);
      const controlPlane = await context.find(globalOptions(command));
      for (const workflow of ['backup', 'restore'] as const) {
        const execution = controlPlane.executionOf(workflow, run);
        if ((await controlPlane.execution(execution)) === undefined) continue;
        const ended = await watchRun({ context, controlPlane, run, execution, quiet: globalOptions(command).json });
        answer(context, command, ended, runView(ended));
        return;
      }
      throw new RedoubtError('UnknownRun', `there is no execution ${run}`);
    });
