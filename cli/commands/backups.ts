import { Command } from 'commander';
import { answer, type CliContext, globalOptions } from '../cli-context.ts';
import { parseClusterId } from '../parse-arguments.ts';
import { backupsPicture } from '../show/backups-picture.ts';

export const backupsCommand = (context: CliContext): Command =>
  new Command('backups')
    .description('show the chains of a cluster: backups, LSNs, sizes, durations')
    .argument('<cluster>')
    .action(async (name: string, _options, command) => {
      const cluster = parseClusterId(name);
      const controlPlane = await context.find(globalOptions(command));
      const document = await controlPlane.ask({ query: 'backups', cluster });
      const text =
        document.backups.length === 0 ? `no backup yet: redoubt backup ${cluster}` : backupsPicture(document);
      answer(context, command, document, text);
    });
