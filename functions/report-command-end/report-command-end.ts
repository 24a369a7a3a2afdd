import { z } from 'zod';
import { RedoubtError } from '#core/errors.ts';
import { instanceIdSchema } from '#core/ids.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { Commands } from '#core/ports/commands.ts';
import type { Executions } from '#core/ports/executions.ts';
import type { Log } from '#core/ports/log.ts';
import type { Runs } from '#core/ports/runs.ts';
import { failureOfCommand } from './failure-of-command.ts';

/** EventBridge's event of Systems Manager: a command ended on one host. */
export const commandEndedEventSchema = z.object({
  'detail-type': z.literal('EC2 Command Invocation Status-change Notification'),
  detail: z.object({ 'command-id': z.string(), 'instance-id': instanceIdSchema, status: z.string() }),
});
export type CommandEndedEvent = z.output<typeof commandEndedEventSchema>;

export interface ReportCommandEndDeps {
  readonly runs: Runs;
  readonly commands: Commands;
  readonly executions: Executions;
  readonly clock: Clock;
  readonly log: Log;
}

/** A command may end before the function that sent it has written down whose it is. */
const LOOKS = 5;
const BETWEEN_LOOKS_MILLISECONDS = 500;

const commandOf = async ({ runs, clock }: ReportCommandEndDeps, command: string) => {
  for (let look = 1; look < LOOKS; look += 1) {
    const found = await runs.commandOf(command);
    if (found) return found;
    await clock.pause(BETWEEN_LOOKS_MILLISECONDS);
  }
  return runs.commandOf(command);
};

/**
 * Fails the task that waits for a command that ended, by the name of what ended it: it does not have to wait for a heartbeat
 * that cannot come. An agent that answered itself has ended its task already; then nothing happens. Throws `UnknownRun` for a
 * command nobody has written down, so that Lambda delivers the event again a minute later.
 */
export const reportCommandEnd = async (deps: ReportCommandEndDeps, { detail }: CommandEndedEvent): Promise<void> => {
  const id = detail['command-id'];
  const instance = detail['instance-id'];
  const command = await commandOf(deps, id);
  if (!command) throw new RedoubtError('UnknownRun', `no run is known to have sent command ${id}`);
  const end = (await deps.commands.endOf(id, instance)) ?? { status: detail.status, tail: '' };
  const failure = failureOfCommand(end);
  const hasFailed = await deps.executions.failTask(command.taskToken, failure);
  deps.log.info(hasFailed ? 'command-ended' : 'command-ended-after-its-task', {
    run: command.run,
    command: id,
    host: instance,
    status: end.status,
    exit: end.exit,
    error: hasFailed ? failure.code : undefined,
  });
};
