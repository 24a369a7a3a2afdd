import {
  CancelCommandCommand,
  GetCommandInvocationCommand,
  InvalidCommandId,
  InvalidInstanceId,
  InvocationDoesNotExist,
  SendCommandCommand,
  SSMClient,
} from '@aws-sdk/client-ssm';
import { mockClient } from 'aws-sdk-client-mock';
import { beforeEach, describe, expect, it } from 'vitest';
import { ssmCommands } from '#functions/adapters/ssm-commands.ts';
import { ssmHosts } from '#functions/adapters/ssm-hosts.ts';
import { HOST } from '../../doubles/sample-manifest.ts';

const ssm = mockClient(SSMClient);
beforeEach(() => {
  ssm.reset();
});

const $metadata = {};
const outage = Object.assign(new Error('socket hang up: AAAA-secret'), { name: 'TimeoutError' });

describe('asking a host through Systems Manager', () => {
  const hosts = ssmHosts(
    { document: 'redoubt-run-agent', bucket: 'repository' },
    new SSMClient({ region: 'us-east-1' }),
  );
  const ask = () =>
    hosts.ask({
      instance: HOST,
      agentDirectory: '/opt/redoubt',
      instructionKey: 'runs/shop/run-1/instruction-1.json',
      instructionSha256: 'a'.repeat(64),
      executionSeconds: 172_800,
    });

  it('sends the address and the digest of the instruction, and copies no output to CloudWatch', async () => {
    ssm.on(SendCommandCommand).resolves({ Command: { CommandId: 'c-1' } });
    expect(await ask()).toBe('c-1');
    expect(ssm.commandCalls(SendCommandCommand)[0]?.args[0].input).toEqual({
      DocumentName: 'redoubt-run-agent',
      InstanceIds: [HOST],
      TimeoutSeconds: 120,
      CloudWatchOutputConfig: { CloudWatchOutputEnabled: false },
      Parameters: {
        AgentDirectory: ['/opt/redoubt'],
        Bucket: ['repository'],
        Instruction: ['runs/shop/run-1/instruction-1.json'],
        Digest: ['a'.repeat(64)],
        ExecutionTimeout: ['172800'],
      },
    });
  });

  it('names a host that Systems Manager does not know', async () => {
    ssm.on(SendCommandCommand).rejects(new InvalidInstanceId({ $metadata, message: '' }));
    await expect(ask()).rejects.toMatchObject({ name: 'HostNotManaged', detail: expect.stringContaining(HOST) });
  });

  it('names the tag of a host that it may not ask', async () => {
    ssm.on(SendCommandCommand).rejects(Object.assign(new Error('not authorized'), { name: 'AccessDeniedException' }));
    await expect(ask()).rejects.toMatchObject({
      name: 'HostNotManaged',
      detail: `the control plane may not send a command to ${HOST}: has it the tag redoubt-cluster?`,
    });
  });

  it('calls everything else an outage, without the words of the service', async () => {
    ssm.on(SendCommandCommand).rejects(outage);
    await expect(ask()).rejects.toMatchObject({
      name: 'ServiceUnavailable',
      detail: 'Systems Manager answered TimeoutError',
    });
  });
});

describe('the commands of Systems Manager', () => {
  const commands = ssmCommands(new SSMClient({ region: 'us-east-1' }));

  it('are cancelled, also when they have gone already', async () => {
    ssm
      .on(CancelCommandCommand)
      .resolvesOnce({})
      .rejectsOnce(new InvalidCommandId({ $metadata, message: '' }))
      .rejects(outage);
    await expect(commands.cancel('c-1')).resolves.toBeUndefined();
    await expect(commands.cancel('c-1')).resolves.toBeUndefined();
    await expect(commands.cancel('c-1')).rejects.toMatchObject({ name: 'ServiceUnavailable' });
  });

  it('tell how they ended, with the last lines of both outputs', async () => {
    const lines = Array.from({ length: 30 }, (_, index) => `line ${index + 1}`).join('\n');
    ssm.on(GetCommandInvocationCommand).resolves({
      Status: 'Failed',
      StatusDetails: 'Failed',
      ResponseCode: 32,
      StandardOutputContent: lines,
      StandardErrorContent: 'failed to run commands: exit status 32\n',
    });
    const end = await commands.endOf('c-1', HOST);
    expect(end).toMatchObject({ status: 'Failed', exit: 32 });
    expect(end?.tail.split('\n')).toHaveLength(20);
    expect(end?.tail).toMatch(/line 30\nfailed to run commands: exit status 32$/);
  });

  it('have no exit code where they never ran', async () => {
    ssm
      .on(GetCommandInvocationCommand)
      .resolves({ Status: 'TimedOut', StatusDetails: 'Delivery Timed Out', ResponseCode: -1 });
    expect(await commands.endOf('c-1', HOST)).toEqual({ status: 'DeliveryTimedOut', tail: '' });
  });

  it.each(['Pending', 'InProgress', 'Delayed', 'Cancelling'] as const)(
    'have not ended while they are %s',
    async (Status) => {
      ssm.on(GetCommandInvocationCommand).resolves({ Status });
      expect(await commands.endOf('c-1', HOST)).toBeUndefined();
    },
  );

  it('have not ended where Systems Manager does not know them yet', async () => {
    ssm.on(GetCommandInvocationCommand).rejects(new InvocationDoesNotExist({ $metadata, message: '' }));
    expect(await commands.endOf('c-1', HOST)).toBeUndefined();
  });
});
