import { Command, InvalidArgumentError } from 'commander';
import { answer, type CliContext, globalOptions } from '../cli-context.ts';
import { parseClusterId } from '../parse-arguments.ts';
import { runsTable } from '../show/runs-table.ts';
import type { Terminal } from '../terminal.ts';

const parseLimit = (text: string): number => {
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 1 || limit > 500) throw new InvalidArgumentError('a number from 1 to 500.');
  return limit;
};

/** A table is read by its columns: on a terminal its lines do not wrap. */
const fitted = (table: string, { isTty, columns }: Terminal): string =>
  isTty
    ? table.replaceAll(/^.+$/gm, (line) => (line.length > columns ? `${line.slice(0, columns - 1)}…` : line))
    : table;

export const runsCommand = (context: CliContext): Command =>
  new Command('runs')
    .description('list what was done, newest first')
    .argument('[cluster]')
    .option('--limit <number>', 'how many at most', parseLimit, 20)
    .action(async (name: string | undefined, options: { limit: number }, command) => {
      const cluster = name === undefined ? undefined : parseClusterId(name);
      const controlPlane = await context.find(globalOptions(command));
      const document = await controlPlane.ask({ query: 'runs', ...(cluster && { cluster }), limit: options.limit });
      answer(
        context,
        command,
        document,
        document.runs.length === 0 ? 'no run yet' : fitted(runsTable(document.runs), context.terminal),
      );
    });
