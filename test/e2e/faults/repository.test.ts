import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { BackupRecord } from '#core/catalog-records.ts';
import { expectRecovered } from './expect-recovered.ts';
import { cluster, FaultLab } from './fault-lab.ts';

let lab: FaultLab;
let full: BackupRecord;

beforeAll(async () => {
  lab = await FaultLab.create();
  full = await lab.backUp();
});

afterAll(() => lab.close());

afterEach(async () => {
  lab.controlPlane.s3.faults.set([]);
  lab.controlPlane.cloud.faults.set([]);
  await expectRecovered(lab);
});

/** The objects of backups, but neither instructions nor progress. */
const key = '^clusters/';
/** The roles of the functions that record backups. */
const recorder = 'RecordBackupRole';
const recorders = `${recorder}|SettleRunRole`;
const unavailable = { kind: 'error', status: 503, code: 'ServiceUnavailable' } as const;

const restore = (backup: BackupRecord, directory: string) =>
  lab.begin('restore', cluster, '--to', backup.backup, '--directory', directory);

describe('an S3 that answers 503', () => {
  it('for a while does not fail a backup', async () => {
    const caller = lab.host.role;
    const times = 2;
    lab.controlPlane.s3.faults.set(
      ['CreateMultipartUpload', 'UploadPart', 'CompleteMultipartUpload', 'HeadObject', 'PutObject'].map(
        (operation) => ({ operations: [operation], key, caller, times, fault: { kind: 'slow-down' } }) as const,
      ),
    );
    await lab.backUp();
    for (const { operations, seen } of lab.controlPlane.s3.faults.rules)
      expect(seen, operations?.[0]).toBeGreaterThan(times);
  });

  it('for ever is UploadFailed', async () => {
    lab.controlPlane.s3.faults.set([{ key, caller: lab.host.role, fault: unavailable }]);
    await lab.change();
    const failed = await lab.fails(await lab.begin('backup', cluster));
    expect(failed).toMatchObject({ code: 'UploadFailed', detail: expect.stringContaining('ServiceUnavailable') });
  });

  it('for ever, but only to the control plane, is RepositoryUnavailable', async () => {
    lab.controlPlane.s3.faults.set([{ key, caller: recorder, fault: unavailable }]);
    await lab.change();
    const failed = await lab.fails(await lab.begin('backup', cluster));
    expect(failed.code).toBe('RepositoryUnavailable');
  });

  it('for a while does not fail a restore', async () => {
    const directory = join(lab.directory, 'restored-late');
    lab.controlPlane.s3.faults.set([
      { operations: ['GetObject'], key, caller: lab.host.role, times: 3, fault: { kind: 'slow-down' } },
    ]);
    await lab.succeeds(await restore(full, directory));
    rmSync(directory, { recursive: true });
  });

  it('for ever is RepositoryUnavailable to a restore', async () => {
    lab.controlPlane.s3.faults.set([{ operations: ['GetObject'], key, caller: lab.host.role, fault: unavailable }]);
    expect(await lab.fails(await restore(full, join(lab.directory, 'never')))).toMatchObject({
      code: 'RepositoryUnavailable',
      detail: expect.stringContaining('ServiceUnavailable'),
    });
  });
});

it('an S3 that is slow only makes a backup slow', async () => {
  const bytesPerSecond = 600_000;
  lab.controlPlane.s3.faults.set([
    { operations: ['UploadPart'], key, caller: lab.host.role, fault: { kind: 'throttle', bytesPerSecond } },
  ]);
  await lab.backUp();
  expect(lab.controlPlane.s3.faults.rules[0]?.seen).toBeGreaterThan(0);
});

describe('a backup whose data is', () => {
  let backup: BackupRecord;
  let damaged: string;
  let sound: Buffer;
  beforeEach(async () => {
    backup = await lab.backUp('--full');
    damaged = backup.manifestKey.replace('manifest.json', 'data.00000');
    sound = lab.readStored(damaged);
  });

  afterEach(async () => {
    await lab.writeStored(damaged, sound);
    const directory = join(lab.directory, 'mended');
    await lab.succeeds(await restore(backup, directory));
    rmSync(directory, { recursive: true });
  });

  const failedRestore = async () => {
    const directory = join(lab.directory, 'not-restored');
    return lab.fails(await restore(backup, directory));
  };

  it('tampered with is ObjectTampered', async () => {
    const tampered = Buffer.from(sound);
    const middle = tampered.length >> 1;
    tampered.writeUInt8(tampered.readUInt8(middle) ^ 1, middle);
    await lab.writeStored(damaged, tampered);
    expect(await failedRestore()).toMatchObject({ code: 'ObjectTampered', detail: expect.stringContaining(damaged) });
  });

  it('truncated is ObjectTampered', async () => {
    await lab.writeStored(damaged, sound.subarray(0, -100));
    expect(await failedRestore()).toMatchObject({ code: 'ObjectTampered', detail: expect.stringContaining(damaged) });
  });

  it('missing is ObjectMissing', async () => {
    await lab.removeStored(damaged);
    expect(await failedRestore()).toMatchObject({ code: 'ObjectMissing', detail: expect.stringContaining(damaged) });
  });
});

describe('a DynamoDB that refuses to record a backup', () => {
  const refused = { kind: 'error', status: 400, code: 'AccessDeniedException' } as const;
  const operations = ['dynamodb:TransactWriteItems'];

  it('for a while does not fail it', async () => {
    lab.controlPlane.cloud.faults.set([{ operations, caller: recorders, times: 2, fault: refused }]);
    await lab.backUp();
    expect(lab.controlPlane.cloud.faults.rules[0]?.seen).toBeGreaterThan(2);
  });

  it('for ever is CatalogUnavailable; the backup is kept, and the next plan adopts it and builds on it', async () => {
    lab.controlPlane.cloud.faults.set([{ operations, caller: recorders, fault: refused }]);
    await lab.change();
    const run = await lab.begin('backup', cluster);
    const failed = await lab.fails(run);
    expect(failed).toMatchObject({
      code: 'CatalogUnavailable',
      detail: expect.stringContaining('AccessDeniedException'),
    });
    const unrecorded = await lab.unrecorded();
    expect(unrecorded).toHaveLength(1);

    lab.controlPlane.cloud.faults.set([]);
    const next = await lab.backUp();
    const { backups } = await lab.api.ask({ query: 'backups', cluster });
    const adopted = backups.find((one) => one.run === run);
    expect(adopted?.manifestKey).toBe(unrecorded[0]);
    expect(next).toMatchObject({ chain: adopted?.chain, seq: (adopted?.seq ?? 0) + 1 });
  });
});
