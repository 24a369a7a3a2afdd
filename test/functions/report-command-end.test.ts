import { beforeEach, describe, expect, it } from 'vitest';
import { errorCodes, errorKind } from '#core/errors.ts';
import { failureOfCommand } from '#functions/report-command-end/failure-of-command.ts';
import {
  type CommandEndedEvent,
  commandEndedEventSchema,
  reportCommandEnd,
} from '#functions/report-command-end/report-command-end.ts';
import { HOST } from '../doubles/sample-manifest.ts';
import { type ControlPlaneUnderTest, controlPlaneUnderTest, tokenOf } from './control-plane-under-test.ts';

const event = (command: string, status = 'Failed'): CommandEndedEvent =>
  commandEndedEventSchema.parse({
    'detail-type': 'EC2 Command Invocation Status-change Notification',
    detail: { 'command-id': command, 'document-name': 'redoubt-run-agent', 'instance-id': HOST, status },
  });

describe('reporting the end of a command', () => {
  let world: ControlPlaneUnderTest;
  beforeEach(async () => {
    world = await controlPlaneUnderTest();
    await world.ask('run-1', await world.plan('run-1'));
  });

  it('fails the task that waits for it, by the name of its exit code', async () => {
    world.hosts.ends.set('command-1', {
      status: 'Failed',
      exit: errorKind('AgentMissing').exit,
      tail: 'no agent there',
    });
    await reportCommandEnd(world.deps, event('command-1'));
    expect(world.executions.failed.get(tokenOf('run-1'))).toEqual({
      code: 'AgentMissing',
      detail: 'the command ended: Failed, exit code 32\nno agent there',
      hint: errorKind('AgentMissing').hint,
    });
  });

  it('does nothing where the agent has answered itself', async () => {
    world.executions.waiting.clear();
    world.hosts.ends.set('command-1', { status: 'Failed', exit: 70, tail: '' });
    await reportCommandEnd(world.deps, event('command-1'));
    expect(world.executions.failed.size).toBe(0);
    expect(world.log.codes()).toContain('command-ended-after-its-task');
  });

  it('fails the task of an agent that ended well but never answered', async () => {
    world.hosts.ends.set('command-1', { status: 'Success', exit: 0, tail: '' });
    await reportCommandEnd(world.deps, event('command-1', 'Success'));
    expect(world.executions.failed.get(tokenOf('run-1'))).toMatchObject({ code: 'AgentDied' });
  });

  it('believes the event where Systems Manager does not say more', async () => {
    await reportCommandEnd(world.deps, event('command-1', 'Cancelled'));
    expect(world.executions.failed.get(tokenOf('run-1'))).toMatchObject({ code: 'RunCancelled' });
  });

  it('waits for the command to be written down', async () => {
    let looks = 0;
    const { commandOf } = world.runs;
    const runs = {
      ...world.runs,
      commandOf: async (command: string) => {
        looks += 1;
        return looks < 3 ? undefined : commandOf(command);
      },
    };
    await reportCommandEnd({ ...world.deps, runs }, event('command-1'));
    expect(world.executions.failed.size).toBe(1);
  });

  it('asks to be called again for a command that nobody has written down', async () => {
    await expect(reportCommandEnd(world.deps, event('command-9'))).rejects.toMatchObject({ name: 'UnknownRun' });
  });

  it('does not fail the task of a later command of the same run', async () => {
    const planned = await world.plan('run-1', { attempt: 2 });
    const token = tokenOf('run-1');
    world.executions.waiting.delete(token);
    world.executions.waiting.add('second-token');
    await reportCommandEnd(world.deps, event('command-1'));
    expect(planned.decoded.attempt).toBe(2);
    expect(world.executions.waiting).toContain('second-token');
  });

  it('never logs the task token', async () => {
    await reportCommandEnd(world.deps, event('command-1'));
    expect(JSON.stringify(world.log.lines)).not.toContain(tokenOf('run-1'));
  });
});

describe('the failure of a command', () => {
  it.each(errorCodes.map((code) => [code, errorKind(code).exit] as const))('is %s for exit code %i', (code, exit) => {
    expect(failureOfCommand({ status: 'Failed', exit, tail: '' })).toMatchObject({ code });
  });

  it.each([
    [{ status: 'Failed', exit: 127 }, 'AgentMissing'],
    [{ status: 'Failed', exit: 126 }, 'AgentMissing'],
    [{ status: 'Failed', exit: 137 }, 'AgentDied'],
    [{ status: 'Failed', exit: 1 }, 'AgentDied'],
    [{ status: 'Failed' }, 'AgentDied'],
    [{ status: 'Success', exit: 0 }, 'AgentDied'],
    [{ status: 'DeliveryTimedOut' }, 'HostUnreachable'],
    [{ status: 'Undeliverable' }, 'HostUnreachable'],
    [{ status: 'Terminated' }, 'HostUnreachable'],
    [{ status: 'TimedOut' }, 'HostUnreachable'],
    [{ status: 'ExecutionTimedOut' }, 'AgentDied'],
    [{ status: 'ExecutionTimedOut', exit: 137 }, 'AgentDied'],
    [{ status: 'Cancelled' }, 'RunCancelled'],
    [{ status: 'Cancelled', exit: 143 }, 'RunCancelled'],
  ] as const)('of %o is %s', (end, code) => {
    expect(failureOfCommand({ ...end, tail: '' }).code).toBe(code);
  });

  it('keeps the end of what the command said, and no more than Step Functions takes', () => {
    const failure = failureOfCommand({ status: 'Failed', exit: 1, tail: `${'\u0001'.repeat(24_000)}the last line` });
    expect(failure.detail).toMatch(/the last line$/);
    expect(JSON.stringify(failure).length).toBeLessThanOrEqual(32_768);
  });
});
