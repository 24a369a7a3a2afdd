import { Command } from 'commander';
import { answer, type CliContext, globalOptions } from '../cli-context.ts';
import { parseRunId } from '../parse-arguments.ts';
import { runView } from '../show/run-view.ts';

export const runCommand = (context: CliContext): Command =>
  new Command('run')
    .description('show one run: what was decided and why, how it went, its error')
    .argument('<run>')
    .action(async (name: string, _options, command) => {
      const run = parseRunId(name);
      const controlPlane = await context.find(globalOptions(command));
      const document = await controlPlane.ask({ query: 'run', run });
      answer(context, command, document, runView(document));
    });
