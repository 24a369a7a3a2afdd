import { beforeAll, describe, expect, it } from 'vitest';
import { failureSchema } from '#core/agent-protocol.ts';
import { errorKind, fallbackErrors } from '#core/errors.ts';
import { planBackupInputSchema } from '#functions/plan-backup/plan-backup.ts';
import { settleInputSchema } from '#functions/settle-run/settle-request.ts';
import { SYNTH_MILLISECONDS } from '#test/infra/synthesize.ts';
import { calledBy, type Machine, readMachine } from './read-machine.ts';
import { type Ending, walk } from './walk.ts';

let machine: Machine;

beforeAll(async () => {
  machine = await readMachine('redoubt-back-up');
}, SYNTH_MILLISECONDS);

const input = { cluster: 'shop', kind: 'auto', reason: 'schedule' };

const planned = (attempt: number): Ending => ({
  result: {
    Payload: {
      instruction: { kind: 'backup', attempt },
      agentDirectory: '/opt/redoubt',
      heartbeatSeconds: 180,
      timeoutSeconds: 172_800,
    },
  },
});

const answer = {
  kind: 'backup',
  manifestKey: 'm',
  manifestSha256: 'a'.repeat(64),
  storedBytes: 1,
  streamBytes: 2,
  seconds: {},
};

const causeOf = (code: Parameters<typeof errorKind>[0], detail: string) =>
  JSON.stringify({ code, detail, hint: errorKind(code).hint });

const happy: Readonly<Record<string, Ending>> = {
  'Plan the backup': planned(1),
  'Plan a full instead': planned(2),
  'Ask the host to back up': { result: answer },
  'Ask the host for a full instead': { result: answer },
  'Record the backup': { result: { Payload: { backup: '20261122T061210Z-f0000-3f9a1c' } } },
};

describe('backing up a cluster', () => {
  it('plans, asks the host, records, settles and answers what was recorded', async () => {
    const { path, end } = await walk(machine, input, happy);
    expect(path).toEqual([
      'Plan the backup',
      'Ask the host to back up',
      'Record the backup',
      'Settle the run',
      'The backup is restorable',
    ]);
    expect(end).toEqual({ output: { backup: '20261122T061210Z-f0000-3f9a1c' } });
  });

  it('calls the functions whose names its sentences say', () => {
    const calls = Object.entries(machine.States).map(([name, state]) => [name, calledBy(state)] as const);
    expect(Object.fromEntries(calls.filter(([, called]) => called))).toEqual({
      'Plan the backup': 'PlanBackup',
      'Ask the host to back up': 'AskHost',
      'Plan a full instead': 'PlanBackup',
      'Ask the host for a full instead': 'AskHost',
      'Record the backup': 'RecordBackup',
      'Settle the run': 'SettleRun',
      'Settle the failed run': 'SettleRun',
    });
  });

  it('gives the plan what was asked for, in the form it reads', async () => {
    const { payloads } = await walk(machine, input, happy);
    expect(planBackupInputSchema.parse(payloads['Plan the backup'])).toEqual({
      cluster: 'shop',
      kind: 'auto',
      reason: 'schedule',
      run: 'run-1',
      execution: 'arn:aws:states:execution',
      attempt: 1,
    });
  });

  it('needs no more than the name of a cluster', async () => {
    const { payloads } = await walk(machine, { cluster: 'shop' }, happy);
    expect(planBackupInputSchema.safeParse(payloads['Plan the backup']).success).toBe(true);
  });

  it('gives the host what was planned, with the token of this very task', async () => {
    const { payloads } = await walk(machine, input, happy);
    expect(payloads['Ask the host to back up']).toEqual({
      taskToken: 'token-of-Ask the host to back up',
      instruction: { kind: 'backup', attempt: 1 },
      agentDirectory: '/opt/redoubt',
    });
  });

  it('records and settles with the answer of the host', async () => {
    const { payloads } = await walk(machine, input, happy);
    expect(payloads['Record the backup']).toEqual({ run: 'run-1', answer });
    expect(settleInputSchema.parse(payloads['Settle the run'])).toMatchObject({ run: 'run-1', outcome: 'succeeded' });
  });
});

describe('a host that says the chain cannot go on', () => {
  it.each(fallbackErrors)('after %s is asked for a full, in the same execution', async (error) => {
    const { path, payloads, end } = await walk(machine, input, {
      ...happy,
      'Ask the host to back up': { error, cause: causeOf(error, 'the canary is gone') },
    });
    expect(path).toEqual([
      'Plan the backup',
      'Ask the host to back up',
      'Plan a full instead',
      'Ask the host for a full instead',
      'Record the backup',
      'Settle the run',
      'The backup is restorable',
    ]);
    expect(planBackupInputSchema.parse(payloads['Plan a full instead'])).toMatchObject({
      cluster: 'shop',
      attempt: 2,
      refusal: { code: error, detail: 'the canary is gone' },
    });
    expect(payloads['Ask the host for a full instead']).toMatchObject({ instruction: { attempt: 2 } });
    expect(end).toHaveProperty('output');
  });

  it.each(fallbackErrors)('is not asked a third time: a second %s fails the run', async (error) => {
    const { path, end } = await walk(machine, input, {
      ...happy,
      'Ask the host to back up': { error, cause: causeOf(error, 'first') },
      'Ask the host for a full instead': { error, cause: causeOf(error, 'second') },
    });
    expect(path.slice(-3)).toEqual(['Ask the host for a full instead', 'Settle the failed run', 'The backup failed']);
    expect(end).toEqual({ error, cause: causeOf(error, 'second') });
  });

  it('may do so without a cause', async () => {
    const { payloads } = await walk(machine, input, { ...happy, 'Ask the host to back up': { error: 'ChainBroken' } });
    expect(payloads['Plan a full instead']).toMatchObject({ refusal: { code: 'ChainBroken', detail: '' } });
  });
});

describe('a backup that fails', () => {
  const cause = causeOf('EngineLostData', 'a line that means lost data');

  it.each(['Plan the backup', 'Ask the host to back up', 'Record the backup'])(
    'at "%s" settles the run and fails with the error and the cause it was failed by',
    async (state) => {
      const { path, payloads, end } = await walk(machine, input, {
        ...happy,
        [state]: { error: 'EngineLostData', cause },
      });
      expect(path.slice(-3)).toEqual([state, 'Settle the failed run', 'The backup failed']);
      expect(settleInputSchema.parse(payloads['Settle the failed run'])).toEqual({
        run: 'run-1',
        execution: 'arn:aws:states:execution',
        cluster: 'shop',
        startedAt: '2026-11-22T05:12:10.000Z',
        outcome: 'failed',
        error: 'EngineLostData',
        cause,
      });
      expect(end).toEqual({ error: 'EngineLostData', cause });
    },
  );

  it.each(['Plan a full instead', 'Ask the host for a full instead'])('at "%s" does the same', async (state) => {
    const { path, end } = await walk(machine, input, {
      ...happy,
      'Ask the host to back up': { error: 'ServerChanged', cause: causeOf('ServerChanged', 'another uuid') },
      [state]: { error: 'EngineLostData', cause },
    });
    expect(path.slice(-3)).toEqual([state, 'Settle the failed run', 'The backup failed']);
    expect(end).toEqual({ error: 'EngineLostData', cause });
  });

  it('without a cause fails without one', async () => {
    const { end } = await walk(machine, input, { ...happy, 'Record the backup': { error: 'States.TaskFailed' } });
    expect(end).toEqual({ error: 'States.TaskFailed', cause: '' });
  });

  it('keeps its error where settling it fails too', async () => {
    const { end } = await walk(machine, input, {
      ...happy,
      'Record the backup': { error: 'ObjectTampered', cause },
      'Settle the failed run': { error: 'CatalogUnavailable', cause: 'another one' },
    });
    expect(end).toEqual({ error: 'ObjectTampered', cause });
  });

  it.each([
    ['States.HeartbeatTimeout', 'HostSilent'],
    ['States.Timeout', 'RunCancelled'],
  ] as const)('by %s of the host has the name %s, and a cause as an agent would have sent it', async (error, code) => {
    for (const state of ['Ask the host to back up', 'Ask the host for a full instead']) {
      const { end } = await walk(machine, input, {
        ...happy,
        'Ask the host to back up': { error: 'ChainBroken', cause: causeOf('ChainBroken', 'gone') },
        [state]: { error },
      });
      expect(end).toMatchObject({ error: code });
      expect(failureSchema.parse(JSON.parse('cause' in end ? String(end.cause) : ''))).toMatchObject({ code });
    }
  });

  it('by the input itself is settled as well', async () => {
    const { path, payloads } = await walk(
      machine,
      {},
      { 'Plan the backup': { error: 'InvalidInput', cause: 'cluster' } },
    );
    expect(path).toEqual(['Plan the backup', 'Settle the failed run', 'The backup failed']);
    expect(settleInputSchema.safeParse(payloads['Settle the failed run']).success).toBe(true);
  });
});
