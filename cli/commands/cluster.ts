import { Command } from 'commander';
import { stringify } from 'yaml';
import type { ApplyClusterAnswer } from '#core/catalog-queries.ts';
import { answer, type CliContext, globalOptions } from '../cli-context.ts';
import { parseClusterId } from '../parse-arguments.ts';
import { formatBytes } from '../show/format-bytes.ts';
import { formatTime } from '../show/format-time.ts';

export const clusterCommand = (context: CliContext): Command =>
  new Command('cluster')
    .description('register and show clusters')
    .addCommand(applyCommand(context))
    .addCommand(showCommand(context));

const applyCommand = (context: CliContext): Command =>
  new Command('apply')
    .description('register a cluster, or change it to what the file says; writes its schedule')
    .requiredOption('-f, --file <file>', 'YAML file of the cluster; - reads standard input')
    .option('--dry-run', 'check the file and show what would change', false)
    .action(async (options: { file: string; dryRun: boolean }, command) => {
      const file = await context.readText(options.file);
      const controlPlane = await context.find(globalOptions(command));
      const applied = await controlPlane.apply(file, options.dryRun);
      answer(context, command, applied, appliedText(applied, options.dryRun));
    });

const appliedText = ({ config, changes }: ApplyClusterAnswer, dryRun: boolean): string => {
  const { cluster } = config;
  if (changes.length === 0) return `${cluster}: nothing to change`;
  // A cluster's name never changes, so where it is among the changes there was no such cluster before.
  const isNew = changes.some((change) => change.startsWith('cluster: '));
  if (isNew && !dryRun) return `${cluster}: registered; see redoubt cluster show ${cluster}`;
  return [`${cluster}: ${dryRun ? 'would change' : 'changed'}`, ...changes.map((change) => `  ${change}`)].join('\n');
};

const showCommand = (context: CliContext): Command =>
  new Command('show')
    .description('show a cluster: its chain, who works on it, its settings with every default')
    .argument('<cluster>')
    .action(async (name: string, _options, command) => {
      const cluster = parseClusterId(name);
      const controlPlane = await context.find(globalOptions(command));
      const document = await controlPlane.ask({ query: 'cluster', cluster });
      const { config, head, latest, holder } = document;
      const text = [
        `cluster      ${config.cluster}`,
        `last backup  ${latest ? `${latest.backup}, ended ${formatTime(latest.endedAt)} UTC` : 'never'}`,
        head
          ? `chain        ${head.chain}: ${head.tip.seq} increments, ${formatBytes(head.incrementBytes)} on a full of ${formatBytes(head.fullBytes)}`
          : 'chain        none: the next backup is a full',
        `working now  ${holder ?? 'nobody'}`,
        '',
        stringify(config).trimEnd(),
      ].join('\n');
      answer(context, command, document, text);
    });
