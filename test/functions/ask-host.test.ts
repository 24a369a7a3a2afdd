import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { instructionSchema } from '#core/agent-protocol.ts';
import { RedoubtError } from '#core/errors.ts';
import { instructionKey } from '#core/object-keys.ts';
import { askHost } from '#functions/ask-host/ask-host.ts';
import { HOST, SHOP } from '../doubles/sample-manifest.ts';
import { type ControlPlaneUnderTest, controlPlaneUnderTest, runId, tokenOf } from './control-plane-under-test.ts';

describe('asking a host', () => {
  let world: ControlPlaneUnderTest;
  let planned: Awaited<ReturnType<ControlPlaneUnderTest['plan']>>;
  beforeEach(async () => {
    world = await controlPlaneUnderTest();
    await world.backUp('run-1');
    planned = await world.plan('run-2');
  });

  const stored = () => world.repository.objects.get(instructionKey({ cluster: SHOP, run: runId('run-2') }, 1)) ?? '';

  it('stores the whole instruction with the task token, and sends its address and digest', async () => {
    await world.ask('run-2', planned);
    expect(instructionSchema.parse(JSON.parse(stored()))).toEqual({ ...planned.decoded, taskToken: tokenOf('run-2') });
    expect(world.hosts.asked.at(-1)?.command).toEqual({
      instance: HOST,
      agentDirectory: '/opt/redoubt',
      instructionKey: 'runs/shop/run-2/instruction-1.json',
      instructionSha256: createHash('sha256').update(stored()).digest('hex'),
      executionSeconds: 172_800,
    });
  });

  it('sends nothing else: no key, no grant token, no task token', async () => {
    await world.ask('run-2', planned);
    const sent = JSON.stringify([world.hosts.asked, world.log.lines]);
    for (const secret of [tokenOf('run-2'), 'token-of-redoubt', planned.decoded.keys.data.ciphertext])
      expect(sent).not.toContain(secret);
    expect(JSON.stringify(await world.runs.get(runId('run-2')))).not.toContain(tokenOf('run-2'));
  });

  it('remembers whose the command is', async () => {
    await world.ask('run-2', planned);
    expect(await world.runs.get(runId('run-2'))).toMatchObject({ state: 'asked', command: 'command-2' });
    expect(await world.runs.commandOf('command-2')).toMatchObject({ run: 'run-2', taskToken: tokenOf('run-2') });
  });

  it('cancels the command of a first try when it is tried again', async () => {
    await world.ask('run-2', planned);
    await world.ask('run-2', planned);
    expect(world.hosts.cancelled).toEqual(['command-2']);
    expect(await world.runs.get(runId('run-2'))).toMatchObject({ command: 'command-3' });
  });

  it('asks nobody for a run that has ended', async () => {
    await world.settle('run-2', { outcome: 'aborted', error: 'RunCancelled' });
    await expect(world.ask('run-2', planned)).rejects.toMatchObject({ name: 'RunCancelled' });
    expect(world.hosts.asked).toHaveLength(1);
  });

  it('says by name that Systems Manager does not know the host', async () => {
    world.hosts.unmanaged.add(HOST);
    await expect(world.ask('run-2', planned)).rejects.toMatchObject({ name: 'HostNotManaged' });
  });

  const askingWith = (linkCommand: ControlPlaneUnderTest['runs']['linkCommand']) =>
    askHost(
      { ...world.deps, runs: { ...world.runs, linkCommand } },
      { taskToken: 't', instruction: planned.decoded, agentDirectory: planned.agentDirectory },
    );

  it('cancels a command that nobody could cancel later', async () => {
    const lost = askingWith(async () => {
      throw new RedoubtError('CatalogUnavailable', 'DynamoDB answered InternalServerError');
    });
    await expect(lost).rejects.toMatchObject({ name: 'CatalogUnavailable' });
    expect(world.hosts.cancelled).toEqual(['command-2']);
  });

  it('cancels the command if the run ended while its host was asked', async () => {
    const record = await world.runs.get(runId('run-2'));
    if (!record) throw new Error('no run');
    const ended = askingWith(async () => ({ kind: 'refused', run: { ...record, state: 'aborted' } }));
    await expect(ended).rejects.toMatchObject({ name: 'RunCancelled' });
    expect(world.hosts.cancelled).toEqual(['command-2']);
  });
});
