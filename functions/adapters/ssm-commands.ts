import {
  CancelCommandCommand,
  GetCommandInvocationCommand,
  InvalidCommandId,
  InvocationDoesNotExist,
  SSMClient,
} from '@aws-sdk/client-ssm';
import type { Commands } from '#core/ports/commands.ts';
import { serviceFailure } from './service-failure.ts';

const ENDED = new Set(['Success', 'Failed', 'TimedOut', 'Cancelled']);

/** Lines of the output that an operator gets to see at once; the rest is in Systems Manager. */
const TAIL_LINES = 20;

export const ssmCommands = (client = new SSMClient({})): Commands => ({
  async cancel(command) {
    try {
      await client.send(new CancelCommandCommand({ CommandId: command }));
    } catch (error) {
      if (!(error instanceof InvalidCommandId)) throw serviceFailure('Systems Manager', error);
    }
  },

  async endOf(command, instance) {
    try {
      const answer = await client.send(new GetCommandInvocationCommand({ CommandId: command, InstanceId: instance }));
      if (!answer.Status || !ENDED.has(answer.Status)) return undefined;
      const output = [answer.StandardOutputContent, answer.StandardErrorContent].filter(Boolean).join('\n');
      return {
        status: (answer.StatusDetails || answer.Status).replaceAll(' ', ''),
        // -1 is Systems Manager's way to say that nothing ran or nothing came back.
        ...(answer.ResponseCode !== undefined && answer.ResponseCode >= 0 && { exit: answer.ResponseCode }),
        tail: output.trimEnd().split('\n').slice(-TAIL_LINES).join('\n'),
      };
    } catch (error) {
      if (error instanceof InvocationDoesNotExist || error instanceof InvalidCommandId) return undefined;
      throw serviceFailure('Systems Manager', error);
    }
  },
});
