import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { GetScheduleCommand, SchedulerClient } from '@aws-sdk/client-scheduler';
import { SFNClient, StopExecutionCommand } from '@aws-sdk/client-sfn';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { BackupRecord } from '#core/catalog-records.ts';
import type { RunId } from '#core/ids.ts';
import { expectRecovered } from './expect-recovered.ts';
import { cluster, FaultLab, until } from './fault-lab.ts';

let lab: FaultLab;
let full: BackupRecord;

beforeAll(async () => {
  lab = await FaultLab.create();
  full = await lab.backUp();
});

afterAll(() => lab.close());

afterEach(() => lab.controlPlane.s3.faults.set([]));

/** A backup whose data is on its way to the repository and gets no further, and its agent. */
const uploadingBackup = async (): Promise<{ readonly run: RunId; readonly agent: number }> => {
  lab.controlPlane.s3.faults.set([
    { operations: ['UploadPart'], caller: lab.host.role, fault: { kind: 'throttle', bytesPerSecond: 1 } },
  ]);
  await lab.change();
  const run = await lab.begin('backup', cluster);
  await until('an upload has begun', async () => (await lab.uploads()).length > 0);
  return { run, agent: await lab.agent() };
};

describe('an agent that is killed', () => {
  it('during the upload is AgentDied; its upload is ended, its engine and its secrets are gone', async () => {
    const { run, agent } = await uploadingBackup();
    process.kill(agent, 'SIGKILL');
    const failed = await lab.fails(run);
    expect(failed).toMatchObject({ code: 'AgentDied', detail: expect.stringContaining('137') });
    lab.controlPlane.s3.faults.set([]);
    await expectRecovered(lab);
  });

  it('during the prepare of a restore is AgentDied; its engine dies with it, and the next restore goes on', async () => {
    const engine = await lab.holdEngine('--prepare');
    const directory = join(lab.directory, 'killed-in-prepare');
    const restore = ['restore', cluster, '--to', full.backup, '--directory', directory];
    const run = await lab.begin(...restore);
    await engine.reached();
    process.kill(await lab.agent(), 'SIGKILL');
    expect(await lab.fails(run)).toMatchObject({ code: 'AgentDied' });
    await expectRecovered(lab);
    engine.release();
    await lab.succeeds(await lab.begin(...restore));
    rmSync(directory, { recursive: true });
    await lab.apply();
  });
});

it('a host that falls silent is HostSilent; its agent is ended', async () => {
  const { run, agent } = await uploadingBackup();
  process.kill(agent, 'SIGSTOP');
  const failed = await lab.fails(run);
  expect(failed.code).toBe('HostSilent');
  lab.controlPlane.s3.faults.set([]);
  await expectRecovered(lab);
});

it('an execution that is stopped half-way is RunCancelled; its agent stops and its lease is free', async () => {
  const { run } = await uploadingBackup();
  await new SFNClient({}).send(
    new StopExecutionCommand({ executionArn: lab.api.executionOf('backup', run), cause: 'stopped by hand' }),
  );
  const failed = await lab.fails(run);
  expect(failed).toMatchObject({
    state: 'aborted',
    code: 'RunCancelled',
    detail: expect.stringContaining('stopped by hand'),
  });
  lab.controlPlane.s3.faults.set([]);
  await expectRecovered(lab);
});

describe('a server that restarts during its backup', () => {
  it('before the engine connects is ServerRestarted', async () => {
    const engine = await lab.holdEngine('--backup');
    await lab.change();
    const run = await lab.begin('backup', cluster);
    await engine.reached();
    await lab.server.stop();
    await lab.server.start();
    engine.release();
    expect(await lab.fails(run)).toMatchObject({ code: 'ServerRestarted' });
    await lab.apply();
    await expectRecovered(lab);
  });

  it('under the engine is ServerRestarted', async () => {
    // Another backup's lock keeps the engine waiting in the middle of its own.
    const blocker = await lab.server.connect();
    blocker.on('error', () => undefined);
    await blocker.query('BACKUP STAGE START');
    await lab.change();
    const run = await lab.begin('backup', cluster);
    await until('the engine waits for the lock', async () => {
      const [rows] = await blocker.query(
        "SELECT 1 FROM information_schema.processlist WHERE user = 'redoubt' AND state LIKE 'Waiting for backup lock'",
      );
      return (rows as unknown[]).length > 0;
    });
    await lab.server.kill();
    blocker.destroy();
    await lab.server.start();
    expect(await lab.fails(run)).toMatchObject({ code: 'ServerRestarted' });
    await expectRecovered(lab);
  });
});

it('a server whose data is older than the chain is ChainBroken: the same execution takes a full instead, and increments follow it', async () => {
  const older = join(lab.directory, 'older');
  await lab.server.stop();
  cpSync(lab.server.dataDirectory, older, { recursive: true, preserveTimestamps: true });
  await lab.server.start();
  for (const _ of Array(10)) await lab.change();
  // The shutdown makes a checkpoint: what was written counts for the LSN that the backup ends at.
  await lab.server.stop();
  await lab.server.start();
  const ahead = await lab.backUp();
  await lab.server.stop();
  await lab.server.destroyData();
  cpSync(older, lab.server.dataDirectory, { recursive: true, preserveTimestamps: true });
  await lab.server.start();

  const instead = await lab.backUp();
  expect(instead).toMatchObject({ kind: 'full', seq: 0 });
  expect(instead.chain).not.toBe(ahead.chain);
  expect(instead.reason).toMatch(/^ChainBroken: the server is at LSN \d+, behind \d+ of /);
  const next = await lab.backUp();
  expect(next).toMatchObject({ kind: 'incremental', chain: instead.chain, seq: 1 });
  await expectRecovered(lab);
});

it('backups that no longer come are found by the look that is scheduled beside them', async () => {
  const { Target: target } = await new SchedulerClient({}).send(
    new GetScheduleCommand({
      GroupName: lab.controlPlane.name,
      Name: `${lab.controlPlane.name}.report-stale-clusters`,
    }),
  );
  const look = async () => {
    const { Payload } = await new LambdaClient({}).send(
      new InvokeCommand({ FunctionName: target?.Arn, Payload: target?.Input ?? '' }),
    );
    return JSON.parse(Payload?.transformToString() ?? '');
  };
  expect(await look()).toEqual([{ cluster, seconds: expect.any(Number), isStale: false }]);
  const aSecond = 1 / 3600;
  await lab.apply((file) => {
    file.policy.alertAfterHours = aSecond;
  });
  await until('the last backup is too old', async () => (await look())[0].isStale);
  await lab.apply();
});
