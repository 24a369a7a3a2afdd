import { Command, InvalidArgumentError } from 'commander';
import { answer, type CliContext, globalOptions } from '../cli-context.ts';
import { parseClusterId } from '../parse-arguments.ts';
import { runsTable } from '../show/runs-table.ts';

const parseLimit = (text: string): number => {
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 1 || limit > 500) throw new InvalidArgumentError('a number from 1 to 500.');
  return limit;
};

export const runsCommand = (context: CliContext): Command =>
  new Command('runs')
    .description('list what was done, newest first')
    .argument('[cluster]')
    .option('--limit <number>', 'how many at most', parseLimit, 20)
    .action(async (name: string | undefined, options: { limit: number }, command) => {
      const cluster = name === undefined ? undefined : parseClusterId(name);
      const controlPlane = await context.find(globalOptions(command));
      const document = await controlPlane.ask({ query: 'runs', ...(cluster && { cluster }), limit: options.limit });
      answer(context, command, document, document.runs.length === 0 ? 'no run yet' : runsTable(document.runs));
    });
