import { Command } from 'commander';
import type { RewrapAnswer, RewrappedChain } from '#core/key-requests.ts';
import { answer, type CliContext, globalOptions } from '../cli-context.ts';
import { parseChainId, parseClusterId } from '../parse-arguments.ts';
import { rewrapView } from '../show/rewrap-view.ts';

export const keysCommand = (context: CliContext): Command =>
  new Command('keys')
    .description('the wrapped keys of chains')
    .addCommand(rewrapCommand(context))
    .addCommand(shredCommand(context));

interface RewrapOptions {
  readonly chain?: string;
  readonly to?: string;
  readonly execute: boolean;
}

const rewrapCommand = (context: CliContext): Command =>
  new Command('rewrap')
    .description('move the keys of chains to another KMS key, without touching data; shows what it would do')
    .argument('<cluster>')
    .option('--chain <chain>', 'only this chain')
    .option('--to <key-arn>', 'the KMS key to move to (else the one of the control plane)')
    .option('--execute', 'do it', false)
    .action(async (name: string, options: RewrapOptions, command) => {
      const cluster = parseClusterId(name);
      const chain = options.chain === undefined ? undefined : parseChainId(options.chain);
      const { to, execute } = options;
      const controlPlane = await context.find(globalOptions(command));
      const chains: RewrappedChain[] = [];
      let after: RewrapAnswer['next'];
      let part: RewrapAnswer;
      do {
        part = await controlPlane.rewrapKeys({
          cluster,
          execute,
          ...(chain && { chain }),
          ...(to !== undefined && { to }),
          ...(after && { after }),
        });
        chains.push(...part.chains);
        after = part.next;
      } while (after);
      const whole = { ...part, chains };
      answer(context, command, whole, rewrapView(cluster, whole));
    });

interface ShredOptions {
  readonly confirm?: string;
  readonly last: boolean;
  readonly reason?: string;
}

const shredCommand = (context: CliContext): Command =>
  new Command('shred')
    .description('remove every copy of the wrapped keys of a chain: its backups can never be restored again')
    .argument('<cluster>')
    .argument('<chain>')
    .option('--confirm <chain>', 'the id of the chain, typed again')
    .option('--last', 'although no other chain of the cluster can be restored', false)
    .option('--reason <text>', 'noted beside the chain')
    .action(async (name: string, chainName: string, options: ShredOptions, command) => {
      const cluster = parseClusterId(name);
      const chain = parseChainId(chainName);
      const controlPlane = await context.find(globalOptions(command));
      const { confirm, last, reason } = options;
      const done = await controlPlane.shredKeys({
        cluster,
        chain,
        last,
        by: context.operator(),
        ...(confirm !== undefined && { confirm }),
        ...(reason !== undefined && { reason }),
      });
      const removed = `keys of ${done.manifests} manifests, ${done.versions} older versions, ${done.instructions} instructions`;
      const text = `the keys of ${chain} are shredded; ${done.backups} backups cannot be restored any more (removed: ${removed})`;
      answer(context, command, done, text);
    });
