import { beforeEach, describe, expect, it } from 'vitest';
import type { RedoubtError } from '#core/errors.ts';
import { clusterIdSchema } from '#core/ids.ts';
import { backupPrefix, manifestKey } from '#core/object-keys.ts';
import { readManifest } from '#functions/recording/read-manifest.ts';
import { namedFailure } from '#functions/settle-run/named-failure.ts';
import { settleInputSchema } from '#functions/settle-run/settle-request.ts';
import { SHOP } from '../doubles/sample-manifest.ts';
import { type ControlPlaneUnderTest, controlPlaneUnderTest, executionOf, runId } from './control-plane-under-test.ts';

const failed = { outcome: 'failed', error: 'EngineFailed', cause: 'it said no' } as const;

describe('settling a run', () => {
  let world: ControlPlaneUnderTest;
  beforeEach(async () => {
    world = await controlPlaneUnderTest();
  });

  const asked = async (run: string) => {
    const planned = await world.plan(run);
    await world.ask(run, planned);
    return planned.decoded;
  };

  it('gives back grant and lease of a run that succeeded, and keeps its answer', async () => {
    const backup = world.commit(await asked('run-1'));
    await world.record('run-1', backup);
    const answer = {
      kind: 'backup' as const,
      manifestKey: backup.key,
      manifestSha256: backup.sha256,
      storedBytes: 7,
      streamBytes: 9,
      seconds: { copying: 3 },
    };
    expect(await world.settle('run-1', { answer })).toMatchObject({
      state: 'succeeded',
      isFirst: true,
      storedBytes: 7,
    });
    expect(world.keys.grants.size).toBe(0);
    expect(await world.lease()).toMatchObject({ held: false });
    expect(await world.runs.get(runId('run-1'))).toMatchObject({ state: 'succeeded', grants: [], answer });
    expect(world.hosts.cancelled).toEqual([]);
  });

  it('ends a run that failed with its named error, and removes what it left', async () => {
    const instruction = await asked('run-1');
    world.upload(instruction);
    world.repository.uploads.add(`${backupPrefix(instruction)}data.00002`);
    expect(await world.settle('run-1', failed)).toMatchObject({
      state: 'failed',
      isFirst: true,
      error: 'EngineFailed',
      detail: 'it said no',
    });
    expect(await world.runs.get(runId('run-1'))).toMatchObject({
      state: 'failed',
      error: 'EngineFailed',
      detail: 'it said no',
      endedAt: expect.any(String),
      grants: [],
    });
    expect(await world.lease()).toMatchObject({ held: false });
    expect(world.hosts.cancelled).toEqual(['command-1']);
    const left = [...world.repository.objects.keys()].filter((key) => key.startsWith('clusters/'));
    expect(left).toEqual([manifestKey(instruction)]);
    expect((await readManifest(world.repository, instruction)).kind).toBe('given-up');
    expect(world.repository.uploads.size).toBe(0);
  });

  it('changes nothing when it is done again, and keeps the first error', async () => {
    await asked('run-1');
    await world.settle('run-1', failed);
    const before = await world.runs.get(runId('run-1'));
    const again = await world.settle('run-1', { outcome: 'aborted', error: 'RunCancelled' });
    expect(again).toMatchObject({ state: 'failed', isFirst: false, error: 'EngineFailed' });
    expect(await world.runs.get(runId('run-1'))).toEqual(before);
  });

  it('never takes the lease from the run that came after', async () => {
    await asked('run-1');
    world.executions.ended.add(executionOf('run-1'));
    await world.plan('run-2');
    await world.settle('run-1', failed);
    expect(await world.lease()).toMatchObject({ held: true, run: 'run-2' });
  });

  it('records a backup that was committed although its run failed', async () => {
    const backup = world.commit(await asked('run-1'));
    await world.settle('run-1', { outcome: 'failed', error: 'HostSilent', cause: '' });
    expect((await world.chains.head(SHOP))?.tip.backup).toBe(backup.manifest.backup);
    expect(world.repository.objects.has(backup.key)).toBe(true);
    expect(await world.runs.get(runId('run-1'))).toMatchObject({
      state: 'failed',
      error: 'HostSilent',
      detail: expect.stringContaining('is recorded'),
    });
  });

  it('ends a run whose backup was recorded before something failed as the success that it is', async () => {
    const backup = world.commit(await asked('run-1'));
    await world.record('run-1', backup);
    const failure = { outcome: 'failed', error: 'ServiceUnavailable', cause: 'KMS did not answer' } as const;
    expect(await world.settle('run-1', failure)).toMatchObject({ state: 'succeeded', isFirst: true });
    const record = await world.runs.get(runId('run-1'));
    expect(record).toMatchObject({ state: 'succeeded', detail: expect.stringContaining('was recorded before that') });
    expect(record?.error).toBeUndefined();
    expect((await world.chains.head(SHOP))?.tip.backup).toBe(backup.manifest.backup);
  });

  it('leaves a committed backup to the next plan if the lease is lost', async () => {
    const backup = world.commit(await asked('run-1'));
    world.executions.ended.add(executionOf('run-1'));
    const held = await world.lease();
    if (!held) throw new Error('no lease');
    const { cluster, execution } = held;
    await world.leases.takeOver({ cluster, execution, run: runId('run-2'), now: world.clock.now(), seconds: 60 }, held);
    await world.settle('run-1', failed);
    expect(await world.chains.head(SHOP)).toBeUndefined();
    expect(world.repository.objects.has(backup.key)).toBe(true);
  });

  it('neither records nor removes a committed backup of which an object is gone', async () => {
    const backup = world.commit(await asked('run-1'));
    world.repository.objects.delete(backup.manifest.inventory.key);
    await world.settle('run-1', failed);
    expect(await world.chains.head(SHOP)).toBeUndefined();
    expect(world.repository.objects.has(backup.key)).toBe(true);
    expect((await world.runs.get(runId('run-1')))?.detail).toContain('cannot be recorded');
  });

  it('lets no agent commit what was given up, though the versions of its objects can still be read', async () => {
    const instruction = await asked('run-1');
    const sent = world.upload(instruction);
    await world.settle('run-1', failed);
    world.executions.ended.add(executionOf('run-1'));
    expect(() => world.commitOver(instruction, sent)).toThrow(expect.objectContaining({ code: 'RunCancelled' }));
    for (const [key, version] of sent) {
      expect(await world.repository.read(key, version)).toBeDefined();
      expect(await world.repository.look(key)).toBeUndefined();
    }
    await world.plan('run-2');
    expect((await world.chains.all(SHOP)).backups).toEqual([]);
  });

  it('finds the grant of a plan that died before it could write it down', async () => {
    const { decoded } = await world.plan('run-1');
    await world.runs.setGrants(runId('run-1'), []);
    expect(world.keys.grants.size).toBe(1);
    await world.settle('run-1', failed);
    expect(world.keys.grants.size).toBe(0);
    expect(decoded.attempt).toBe(1);
  });

  it('does everything else, keeps the error and the grant, and fails, if KMS does not answer', async () => {
    await asked('run-1');
    world.keys.failing = 'revoke';
    await expect(world.settle('run-1', failed)).rejects.toMatchObject({ name: 'ServiceUnavailable' });
    expect(await world.lease()).toMatchObject({ held: false });
    expect(await world.runs.get(runId('run-1'))).toMatchObject({
      state: 'failed',
      error: 'EngineFailed',
      grants: [{ grant: 'grant-of-redoubt-run-1-1' }],
    });
    world.keys.failing = undefined;
    await world.settle('run-1', failed);
    expect(world.keys.grants.size).toBe(0);
    expect((await world.plannedRun('run-1')).grants).toEqual([]);
  });

  it('leaves a run of the same name alone that another execution planned, and the lease of it', async () => {
    const instruction = await asked('run-1');
    world.upload(instruction);
    const before = await world.runs.get(runId('run-1'));
    const execution = executionOf('run-1').replace('back-up', 'restore');
    expect(await world.settle('run-1', { ...failed, execution, cluster: SHOP })).toMatchObject({ state: 'unknown' });
    expect(await world.runs.get(runId('run-1'))).toEqual(before);
    expect(await world.lease()).toMatchObject({ held: true, run: 'run-1' });
    expect(world.keys.grants.size).toBe(1);
    expect(world.hosts.cancelled).toEqual([]);
    expect(await world.repository.list(backupPrefix(instruction))).not.toEqual([]);
  });

  describe('that ended before its plan was written', () => {
    const unknown = { outcome: 'failed', error: 'UnknownCluster', cause: 'no cluster shpo was applied' } as const;

    it('releases its lease and writes it down with its cause, once', async () => {
      const { cluster, run, execution } = { cluster: SHOP, run: runId('run-1'), execution: executionOf('run-1') };
      await world.leases.acquire({ cluster, run, execution, now: world.clock.now(), seconds: 60 });
      const startedAt = '2026-11-22T05:00:00.000Z';
      const ended = { state: 'failed', kind: 'backup', cluster: SHOP, error: 'EngineFailed', detail: 'it said no' };
      expect(await world.settle('run-1', { ...failed, cluster, startedAt })).toMatchObject({ ...ended, isFirst: true });
      expect(await world.lease()).toMatchObject({ held: false });
      expect(await world.runs.get(run)).toEqual({
        run,
        ...ended,
        execution,
        startedAt,
        endedAt: world.clock.now().toISOString(),
      });
      expect(await world.settle('run-1', { outcome: 'aborted', cluster })).toMatchObject({ ...ended, isFirst: false });
      expect(await world.runs.list(SHOP, 10)).toMatchObject([ended]);
    });

    it('is refused, not failed, where another run was at work, whose run and lease it leaves alone', async () => {
      await asked('run-1');
      const before = await world.runs.get(runId('run-1'));
      const refusal = await world.plan('run-2').catch((error: RedoubtError) => error);
      expect(refusal).toMatchObject({ code: 'BackupInProgress' });
      const busy = {
        outcome: 'failed',
        error: 'BackupInProgress',
        cause: 'run run-1 holds shop',
        cluster: SHOP,
      } as const;
      expect(await world.settle('run-2', busy)).toMatchObject({ state: 'refused', isFirst: true });
      expect(await world.runs.get(runId('run-1'))).toEqual(before);
      expect(await world.lease()).toMatchObject({ held: true, run: 'run-1' });
    });

    it('belongs to no cluster where there is none of its name', async () => {
      const cluster = clusterIdSchema.parse('shpo');
      const settled = await world.settle('run-1', { ...unknown, cluster });
      expect(settled).toMatchObject({ state: 'failed', error: 'UnknownCluster' });
      expect(settled.cluster).toBeUndefined();
      expect(await world.runs.list(cluster, 10)).toEqual([]);
      expect(await world.runs.list(undefined, 10)).toMatchObject([{ run: 'run-1', detail: unknown.cause }]);
    });

    it('is told a restore by its execution', async () => {
      const execution = executionOf('run-1').replace('back-up-a-cluster', 'restore');
      expect(await world.settle('run-1', { ...unknown, execution })).toMatchObject({ kind: 'restore' });
    });

    it('is planned by nobody after that, however late', async () => {
      await world.settle('run-1', { ...failed, cluster: SHOP });
      await expect(world.plan('run-1')).rejects.toMatchObject({ code: 'RunCancelled' });
      expect(await world.lease()).toMatchObject({ held: false });
      expect(world.keys.grants.size).toBe(0);
    });
  });

  it('touches no backup when a restore of it fails', async () => {
    const backup = await world.backUp('run-1');
    const record = await world.plannedRun('run-1');
    const execution = executionOf('restore-1');
    await world.runs.plan({ ...record, run: runId('restore-1'), execution, kind: 'restore', state: 'planned' });
    world.repository.objects.delete(backup.key);
    await world.settle('restore-1', failed);
    expect(world.repository.objects.has(backup.manifest.inventory.key)).toBe(true);
  });
});

describe('what a run is settled for', () => {
  const event = (detail: object) => ({
    'detail-type': 'Step Functions Execution Status Change',
    source: 'aws.states',
    detail: { executionArn: executionOf('run-1'), name: 'run-1', ...detail },
  });

  it('reads the last step of the state machine', () => {
    const execution = executionOf('run-1');
    const step = { run: 'run-1', execution, outcome: 'failed', error: 'AgentDied', cause: 'x' };
    expect(settleInputSchema.parse(step)).toEqual({
      run: 'run-1',
      execution,
      outcome: 'failed',
      error: 'AgentDied',
      cause: 'x',
    });
  });

  it.each([
    ['ABORTED', 'aborted', 'somebody stopped the execution: maintenance'],
    ['TIMED_OUT', 'failed', 'the execution ran into its timeout: maintenance'],
  ])('reads the event of an execution that was %s: it has %s', (status, outcome, cause) => {
    const input = JSON.stringify({ cluster: SHOP });
    expect(
      settleInputSchema.parse(
        event({ status, input, startDate: Date.UTC(2026, 10, 22, 5, 12, 10), error: null, cause: 'maintenance' }),
      ),
    ).toEqual({
      run: 'run-1',
      execution: executionOf('run-1'),
      cluster: SHOP,
      startedAt: '2026-11-22T05:12:10.000Z',
      outcome,
      error: 'RunCancelled',
      cause,
    });
  });

  it('reads the event of an execution that failed, with its error', () => {
    expect(settleInputSchema.parse(event({ status: 'FAILED', error: 'KeyRefused', cause: 'disabled' }))).toEqual({
      run: 'run-1',
      execution: executionOf('run-1'),
      outcome: 'failed',
      error: 'KeyRefused',
      cause: 'disabled',
    });
  });

  it('passes over executions whose name no run can have', () => {
    expect(settleInputSchema.parse(event({ status: 'FAILED', name: 'a.b' }))).toBeUndefined();
  });
});

describe('the name of a failure', () => {
  it.each([
    [
      'what the agent said',
      'EngineLostData',
      JSON.stringify({ code: 'EngineLostData', detail: 'line 7', hint: 'h' }),
      { code: 'EngineLostData', detail: 'line 7' },
    ],
    [
      'what a function threw',
      'LeaseLost',
      JSON.stringify({ errorType: 'LeaseLost', errorMessage: 'run-2 has it', trace: [] }),
      { code: 'LeaseLost', detail: 'run-2 has it' },
    ],
    ['a missed heartbeat', 'States.HeartbeatTimeout', '', { code: 'HostSilent', detail: 'States.HeartbeatTimeout' }],
    ['a timeout', 'States.Timeout', undefined, { code: 'RunCancelled', detail: 'States.Timeout' }],
    [
      'a service that failed',
      'Lambda.TooManyRequestsException',
      'slow',
      { code: 'ServiceUnavailable', detail: 'Lambda.TooManyRequestsException: slow' },
    ],
    [
      'a defect',
      'States.QueryEvaluationError',
      'no such field',
      { code: 'Unexpected', detail: 'States.QueryEvaluationError: no such field' },
    ],
    ['nothing at all', undefined, undefined, { code: 'Unexpected', detail: '' }],
  ] as const)('is found in %s', (_, error, cause, expected) => {
    expect(namedFailure(error, cause)).toEqual(expected);
  });
});
