import { InvalidInstanceId, SendCommandCommand, SSMClient } from '@aws-sdk/client-ssm';
import { RedoubtError } from '#core/errors.ts';
import type { Hosts } from '#core/ports/hosts.ts';
import { serviceFailure } from './service-failure.ts';

/** A host that does not fetch its command in this time is unreachable. Systems Manager takes no less than 30. */
const DELIVERY_SECONDS = 120;

export interface SsmHostsOptions {
  /** Name of the document that runs the agent. */
  readonly document: string;
  readonly bucket: string;
}

export const ssmHosts = ({ document, bucket }: SsmHostsOptions, client = new SSMClient({})): Hosts => ({
  async ask({ instance, agentDirectory, instructionKey, instructionSha256, executionSeconds }) {
    try {
      const { Command } = await client.send(
        new SendCommandCommand({
          DocumentName: document,
          InstanceIds: [instance],
          TimeoutSeconds: DELIVERY_SECONDS,
          // What the host prints stays with Systems Manager: no copy of it goes to CloudWatch.
          CloudWatchOutputConfig: { CloudWatchOutputEnabled: false },
          Parameters: {
            AgentDirectory: [agentDirectory],
            Bucket: [bucket],
            Instruction: [instructionKey],
            Digest: [instructionSha256],
            ExecutionTimeout: [String(executionSeconds)],
          },
        }),
      );
      if (!Command?.CommandId)
        throw new RedoubtError('ServiceUnavailable', 'Systems Manager answered without a command');
      return Command.CommandId;
    } catch (error) {
      if (error instanceof InvalidInstanceId)
        throw new RedoubtError('HostNotManaged', `Systems Manager does not know ${instance}, or it is not online`, {
          cause: error,
        });
      // The function's own policy names the document; what it leaves to the host is the tag.
      if (error instanceof Error && error.name === 'AccessDeniedException')
        throw new RedoubtError(
          'HostNotManaged',
          `the control plane may not send a command to ${instance}: has it the tag redoubt-cluster?`,
          { cause: error },
        );
      throw serviceFailure('Systems Manager', error);
    }
  },
});
