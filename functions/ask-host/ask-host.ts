import { z } from 'zod';
import { backupInstructionSchema, instructionSchema, restoreInstructionSchema } from '#core/agent-protocol.ts';
import { isPlanned } from '#core/catalog-records.ts';
import { RedoubtError } from '#core/errors.ts';
import { canonicalJson } from '#core/manifest.ts';
import { instructionKey } from '#core/object-keys.ts';
import type { Chains } from '#core/ports/chains.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { Commands } from '#core/ports/commands.ts';
import type { Hosts } from '#core/ports/hosts.ts';
import type { Log } from '#core/ports/log.ts';
import type { Repository } from '#core/ports/repository.ts';
import type { Runs } from '#core/ports/runs.ts';
import { sha256Of } from '../runtime/sha256-of.ts';
import { TASK_TIMEOUT_SECONDS } from '../runtime/task-timeout.ts';

export const askHostInputSchema = z.object({
  taskToken: z.string().min(1),
  instruction: z.discriminatedUnion('kind', [
    backupInstructionSchema.omit({ taskToken: true, keys: true }),
    restoreInstructionSchema.omit({ taskToken: true, keys: true }),
  ]),
  agentDirectory: z.string().startsWith('/'),
});
export type AskHostInput = z.output<typeof askHostInputSchema>;

export interface AskHostDeps {
  readonly runs: Runs;
  readonly chains: Chains;
  readonly repository: Repository;
  readonly hosts: Hosts;
  readonly commands: Commands;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Asks the host to carry the instruction out. The instruction, with the task token and what the run was lent in it, goes into
 * the repository; what goes through Systems Manager is its address and digest. The task's result is the agent's own answer.
 */
export const askHost = async (deps: AskHostDeps, input: AskHostInput): Promise<void> => {
  const { runs, chains, repository, hosts, commands, clock, log } = deps;
  const { taskToken, agentDirectory } = input;
  const { run, attempt, host, cluster, chain } = input.instruction;
  const before = await runs.get(run);
  // This task is tried again: whatever the first try started answers to a token that nobody waits for.
  if (before && isPlanned(before) && before.command) await commands.cancel(before.command);
  const asked = await runs.transition(run, 'ask');
  if (asked.kind === 'unknown') throw new RedoubtError('UnknownRun', `there is no run ${run}`);
  if (asked.kind === 'refused') throw new RedoubtError('RunCancelled', `run ${run} has ended: ${asked.run.state}`);
  const { lent } = asked.run;
  if (!lent) throw new RedoubtError('RunCancelled', `run ${run} has given back the keys it was lent`);
  // The last look before keys are written where they would have to be found again.
  const record = await chains.chain(cluster, chain);
  if (record && 'shredded' in record.keys)
    throw new RedoubtError('KeyShredded', `the keys of chain ${chain} were shredded at ${record.keys.shredded.at}`);
  const key = instructionKey(input.instruction, attempt);
  const keys = { ...lent.keys, grantToken: lent.grantToken };
  const text = canonicalJson(z.encode(instructionSchema, { ...input.instruction, taskToken, keys }));
  await repository.write(key, text);
  const command = await hosts.ask({
    instance: host,
    agentDirectory,
    instructionKey: key,
    instructionSha256: sha256Of(text),
    executionSeconds: TASK_TIMEOUT_SECONDS,
  });
  const linked = await runs
    .linkCommand({ command, run, taskToken, sentAt: clock.now().toISOString() })
    .catch(async (error: unknown) => {
      // Nothing could cancel it later, or tell that it died.
      await commands.cancel(command);
      throw error;
    });
  if (linked.kind !== 'done') {
    await commands.cancel(command);
    throw new RedoubtError('RunCancelled', `run ${run} ended while its host was asked`);
  }
  log.info('host-asked', { run, attempt, host, command });
};
