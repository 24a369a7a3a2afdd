import { beforeAll, describe, expect, it } from 'vitest';
import { failureSchema } from '#core/agent-protocol.ts';
import { planRestoreInputSchema } from '#functions/plan-restore/plan-restore.ts';
import { settleInputSchema } from '#functions/settle-run/settle-request.ts';
import { restoreFormDocument } from '#infra/documents/restore-form.ts';
import { SYNTH_MILLISECONDS } from '#test/infra/synthesize.ts';
import { calledBy, type Machine, readMachine } from './read-machine.ts';
import { type Ending, walk } from './walk.ts';

let machine: Machine;

beforeAll(async () => {
  machine = await readMachine('redoubt-restore');
}, SYNTH_MILLISECONDS);

const input = { cluster: 'shop', target: { mode: 'prepare-only', directory: '/restored' } };

const answer = {
  kind: 'restore',
  backup: '20261122T061210Z-i0001-3f9a1c',
  directory: '/restored',
  restoredBytes: 1,
  seconds: {},
};

const plannedRestore: Ending = {
  result: {
    Payload: {
      instruction: {
        kind: 'restore',
        cluster: 'shop',
        host: 'i-0123456789abcdef0',
        mode: 'prepare-only',
        directory: '/restored',
        steps: [{ backup: '20261122T051210Z-f0000-3f9a1c' }, { backup: '20261122T061210Z-i0001-3f9a1c' }],
      },
      agentDirectory: '/opt/redoubt',
      heartbeatSeconds: 180,
      timeoutSeconds: 172_800,
    },
  },
};

const happy: Readonly<Record<string, Ending>> = {
  'Plan the restore': plannedRestore,
  'See what it would do': plannedRestore,
  'Plan what was approved': plannedRestore,
  'Ask the host to restore': { result: answer },
};

const planned = async (request: unknown) => {
  const { payloads } = await walk(machine, request, happy);
  return planRestoreInputSchema.parse(payloads['Plan the restore']);
};

describe('restoring a cluster', () => {
  it('plans, asks the host, settles and answers what the host said', async () => {
    const { path, end } = await walk(machine, input, happy);
    expect(path).toEqual([
      'Is an approval asked for?',
      'Plan the restore',
      'Ask the host to restore',
      'Settle the run',
      'The restore is done',
    ]);
    expect(end).toEqual({ output: answer });
  });

  it('calls the functions whose names its sentences say', () => {
    const calls = Object.entries(machine.States).map(([name, state]) => [name, calledBy(state)] as const);
    expect(Object.fromEntries(calls.filter(([, called]) => called))).toEqual({
      'Plan the restore': 'PlanRestore',
      'See what it would do': 'PlanRestore',
      'Plan what was approved': 'PlanRestore',
      'Wait for an approval': 'sns',
      'Ask the host to restore': 'AskHost',
      'Settle the run': 'SettleRun',
      'Settle the failed run': 'SettleRun',
    });
  });

  it('settles with the answer of the host', async () => {
    const { payloads } = await walk(machine, input, happy);
    expect(settleInputSchema.parse(payloads['Settle the run'])).toMatchObject({ outcome: 'succeeded', answer });
  });

  it.each([
    ['nothing, which means the latest', undefined, { kind: 'latest' }],
    ['"latest"', 'latest', { kind: 'latest' }],
    ['the plain id of a backup', 'some-id', { kind: 'backup', backup: 'some-id' }],
    ['a backup', { kind: 'backup', backup: 'some-id' }, { kind: 'backup', backup: 'some-id' }],
    ['a time', { kind: 'time', time: '2026-11-22T06:00:00Z' }, { kind: 'time', time: '2026-11-22T06:00:00Z' }],
  ])('goes to %s', async (_what, to, expected) => {
    expect((await planned({ ...input, ...(to !== undefined && { to }) })).to).toEqual(expected);
  });

  it('starts from the form, whose empty fields were not given', async () => {
    const [step] = restoreFormDocument({ stateMachineArn: 'arn', roleArn: 'arn' }).mainSteps;
    const filled = {
      Cluster: 'shop',
      Backup: 'latest',
      Instance: '',
      Mode: 'prepare-only',
      Directory: '/restored',
      Confirm: '',
    };
    const text = (step?.inputs.input ?? '').replaceAll(
      /\{\{ (\w+) \}\}/g,
      (_, name) => filled[name as keyof typeof filled],
    );
    expect(await planned(JSON.parse(text))).toEqual({
      cluster: 'shop',
      to: { kind: 'latest' },
      target: { mode: 'prepare-only', directory: '/restored' },
      approval: false,
      preview: false,
      run: 'run-1',
      execution: 'arn:aws:states:execution',
    });
  });

  it('hands everything that was given on to the plan', async () => {
    const request = {
      cluster: 'shop',
      to: { kind: 'latest' },
      target: { instance: 'i-0123456789abcdef0', mode: 'replace' },
      confirm: 'shop',
      approval: true,
    };
    const { payloads } = await walk(machine, request, happy);
    expect(planRestoreInputSchema.parse(payloads['See what it would do'])).toMatchObject({ ...request, preview: true });
    expect(planRestoreInputSchema.parse(payloads['Plan what was approved'])).toMatchObject({
      ...request,
      to: { kind: 'backup', backup: '20261122T061210Z-i0001-3f9a1c' },
      preview: false,
    });
  });

  it('gives the host what was planned, with the token of this very task', async () => {
    const { payloads } = await walk(machine, input, happy);
    expect(payloads['Ask the host to restore']).toMatchObject({
      taskToken: 'token-of-Ask the host to restore',
      instruction: { directory: '/restored' },
      agentDirectory: '/opt/redoubt',
    });
  });
});

describe('a restore that needs an approval', () => {
  const needing = { ...input, approval: true };

  it('asks the host only after somebody agreed', async () => {
    const { path } = await walk(machine, needing, happy);
    expect(path).toEqual([
      'Is an approval asked for?',
      'See what it would do',
      'Wait for an approval',
      'Plan what was approved',
      'Ask the host to restore',
      'Settle the run',
      'The restore is done',
    ]);
  });

  it('says what it would do, and how to agree and how to refuse', async () => {
    const { payloads } = await walk(machine, needing, happy);
    expect(payloads['Wait for an approval']).toBe(
      [
        'A restore waits for approval, for 24 hours.',
        '',
        'Cluster: shop',
        'Backup: 20261122T061210Z-i0001-3f9a1c',
        'To: /restored on i-0123456789abcdef0, mode prepare-only',
        'Run: run-1',
        '',
        'Approve:',
        'redoubt approve run-1',
        'aws stepfunctions send-task-success --task-output {} --task-token token-of-Wait for an approval',
        '',
        'Deny:',
        'redoubt approve run-1 --deny "your reason"',
        'aws stepfunctions send-task-failure --error ApprovalDenied --cause "your reason" --task-token token-of-Wait for an approval',
        '',
      ].join('\n'),
    );
  });

  it('takes nothing before somebody agreed, and then only the backup and the host that were agreed to', async () => {
    const { payloads } = await walk(machine, needing, happy);
    expect(planRestoreInputSchema.parse(payloads['See what it would do'])).toMatchObject({ preview: true });
    expect(planRestoreInputSchema.parse(payloads['Plan what was approved'])).toMatchObject({
      preview: false,
      to: { kind: 'backup', backup: '20261122T061210Z-i0001-3f9a1c' },
      target: { instance: 'i-0123456789abcdef0', mode: 'prepare-only', directory: '/restored' },
    });
  });

  it('never reaches the host when it is refused, and fails with the reason', async () => {
    const { path, end } = await walk(machine, needing, {
      ...happy,
      'Wait for an approval': { error: 'ApprovalDenied', cause: 'wrong host' },
    });
    expect(path).not.toContain('Plan what was approved');
    expect(path).not.toContain('Ask the host to restore');
    expect(end).toEqual({ error: 'ApprovalDenied', cause: 'wrong host' });
  });

  it('is refused when nobody answers within a day', async () => {
    expect(machine.States['Wait for an approval']?.TimeoutSeconds).toBe(86_400);
    const { path, end } = await walk(machine, needing, {
      ...happy,
      'Wait for an approval': { error: 'States.Timeout' },
    });
    expect(path).not.toContain('Ask the host to restore');
    expect(end).toMatchObject({ error: 'ApprovalDenied' });
    expect(failureSchema.parse(JSON.parse('cause' in end ? String(end.cause) : '')).detail).toContain('24 hours');
  });

  it('says so by a true, not by a word', async () => {
    const { path } = await walk(machine, { ...input, approval: 'false' }, happy);
    expect(path).not.toContain('Wait for an approval');
  });
});

describe('a restore that fails', () => {
  it.each(['Plan the restore', 'Ask the host to restore'])(
    'at "%s" settles the run and fails as it did',
    async (state) => {
      const { path, payloads, end } = await walk(machine, input, {
        ...happy,
        [state]: { error: 'TargetNotEmpty', cause: 'it holds files' },
      });
      expect(path.slice(-3)).toEqual([state, 'Settle the failed run', 'The restore failed']);
      expect(settleInputSchema.parse(payloads['Settle the failed run'])).toMatchObject({
        run: 'run-1',
        outcome: 'failed',
        error: 'TargetNotEmpty',
      });
      expect(end).toEqual({ error: 'TargetNotEmpty', cause: 'it holds files' });
    },
  );

  it.each([
    ['States.HeartbeatTimeout', 'HostSilent'],
    ['States.Timeout', 'RunCancelled'],
  ])('by %s of the host has the name %s', async (error, code) => {
    const { end } = await walk(machine, input, { ...happy, 'Ask the host to restore': { error } });
    expect(end).toMatchObject({ error: code });
  });

  it('never asks the host a second time, whatever it answered', async () => {
    for (const error of ['ChainBroken', 'RepositoryUnavailable', 'AgentDied']) {
      const { path } = await walk(machine, input, { ...happy, 'Ask the host to restore': { error } });
      expect(path.filter((state) => state.startsWith('Ask'))).toHaveLength(1);
    }
  });
});
