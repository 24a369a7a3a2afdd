import { Command } from 'commander';
import { answer, type CliContext, globalOptions } from '../cli-context.ts';
import { formatTime } from '../show/format-time.ts';
import { textTable } from '../show/text-table.ts';

export const clustersCommand = (context: CliContext): Command =>
  new Command('clusters')
    .description('list the clusters, and when each was last backed up')
    .action(async (_options, command) => {
      const controlPlane = await context.find(globalOptions(command));
      const document = await controlPlane.ask({ query: 'clusters' });
      const table = textTable<(typeof document.clusters)[number]>(
        [
          { title: 'cluster', of: ({ config }) => config.cluster },
          { title: 'engine', of: ({ config }) => config.engine },
          { title: 'host', of: ({ config }) => config.hosts.map(({ instance }) => instance).join(', ') },
          { title: 'schedule', of: ({ config }) => config.policy.schedule ?? 'on demand' },
          { title: 'last backup (UTC)', of: ({ latest }) => (latest ? formatTime(latest.endedAt) : 'never') },
        ],
        document.clusters,
      );
      answer(
        context,
        command,
        document,
        document.clusters.length === 0 ? 'no cluster yet: redoubt cluster apply -f FILE' : table,
      );
    });
