import { beforeEach, describe, expect, it } from 'vitest';
import {
  type PlanRestoreInput,
  plannedRestoreSchema,
  planRestore,
  planRestoreInputSchema,
} from '#functions/plan-restore/plan-restore.ts';
import { HOST, ROLE, SHOP, sampleCluster } from '../doubles/sample-manifest.ts';
import { type ControlPlaneUnderTest, controlPlaneUnderTest, executionOf, runId } from './control-plane-under-test.ts';

const SPARE = 'i-00000000000000002';
const SPARE_ROLE = 'arn:aws:iam::111122223333:role/shop-spare';

describe('planning a restore', () => {
  let world: ControlPlaneUnderTest;
  beforeEach(async () => {
    const config = sampleCluster({
      hosts: [
        { instance: HOST, role: ROLE },
        { instance: SPARE, role: SPARE_ROLE, agentDirectory: '/srv/redoubt' },
      ],
    });
    world = await controlPlaneUnderTest({ config });
    await world.backUp('run-1');
    await world.backUp('run-2');
  });

  const plan = (input: object): ReturnType<typeof planRestore> =>
    planRestore(
      world.deps,
      planRestoreInputSchema.parse({
        cluster: SHOP,
        target: { mode: 'prepare-only', directory: '/srv/restored' },
        run: 'restore-1',
        execution: executionOf('restore-1'),
        ...input,
      }),
    );

  it('applies the full and every increment up to the latest, base first', async () => {
    const { backups } = await world.chains.all(SHOP);
    const planned = await plan({});
    const decoded = plannedRestoreSchema.parse(planned.instruction);
    expect(decoded.steps.map(({ backup, seq }) => [backup, seq])).toEqual(
      backups.map(({ backup, seq }) => [backup, seq]),
    );
    expect(decoded).toMatchObject({ kind: 'restore', mode: 'prepare-only', directory: '/srv/restored', host: HOST });
  });

  it('decrypts what the engine encrypted when the cluster file says', async () => {
    expect((await plan({})).instruction.decryptAt).toBe('stream');
    const config = sampleCluster({ engine: 'xtrabackup', encryption: { mode: 'native', decryptAt: 'directory' } });
    world = await controlPlaneUnderTest({ config });
    await world.backUp('run-1');
    expect((await plan({})).instruction.decryptAt).toBe('directory');
  });

  it('lends the key of that chain to the role of the target host', async () => {
    const planned = await plan({ target: { instance: SPARE, mode: 'prepare-only', directory: '/srv/restored' } });
    const [chain] = (await world.chains.all(SHOP)).chains;
    expect([...world.keys.grants.values()]).toEqual([
      { keys: chain?.keys, role: SPARE_ROLE, name: 'redoubt-restore-1-1' },
    ]);
    expect(planned.agentDirectory).toBe('/srv/redoubt');
    expect(await world.runs.get(runId('restore-1'))).toMatchObject({
      kind: 'restore',
      state: 'planned',
      grants: [{ grant: 'grant-of-redoubt-restore-1-1' }],
    });
  });

  it('does not keep backups from running while it prepares elsewhere', async () => {
    await plan({});
    expect(await world.lease()).toMatchObject({ held: false });
    await expect(world.plan('run-3')).resolves.toBeDefined();
  });

  it('is the one writer while it replaces the data directory', async () => {
    await plan({ target: { mode: 'replace' }, confirm: 'shop' });
    expect(await world.lease()).toMatchObject({ held: true, run: 'restore-1' });
    await expect(world.plan('run-3')).rejects.toMatchObject({ name: 'BackupInProgress' });
  });

  it('does not replace a data directory while a backup runs', async () => {
    await world.plan('run-3');
    await expect(plan({ target: { mode: 'replace' }, confirm: 'shop' })).rejects.toMatchObject({
      name: 'BackupInProgress',
    });
  });

  it.each([
    ['an unknown cluster', { cluster: 'unknown' }, 'UnknownCluster'],
    ['an unknown backup', { to: { kind: 'backup', backup: 'nope' } }, 'UnknownBackup'],
    ['a time before the first backup', { to: { kind: 'time', time: '2020-01-01T00:00:00Z' } }, 'NoRestorableBackup'],
    [
      'a host that is not of the cluster',
      { target: { instance: 'i-00000000000000009', mode: 'prepare-only', directory: '/x' } },
      'InvalidInput',
    ],
    ['no directory', { target: { mode: 'prepare-only' } }, 'InvalidInput'],
    [
      'the data directory without mode replace',
      { target: { mode: 'prepare-only', directory: '/var/lib/mysql' } },
      'InvalidInput',
    ],
    ['a replacement that nobody confirmed', { target: { mode: 'replace' } }, 'ConfirmationMissing'],
    ['a replacement of another cluster', { target: { mode: 'replace' }, confirm: 'shop2' }, 'ConfirmationMissing'],
  ])('refuses %s, and takes nothing', async (_, input, name) => {
    await expect(plan(input)).rejects.toMatchObject({ name });
    expect(world.keys.grants.size).toBe(0);
    expect(await world.lease()).toMatchObject({ held: false });
  });

  it.each([
    ['prepares elsewhere', { mode: 'prepare-only', directory: '/srv/restored' }],
    ['replaces the data directory', { mode: 'replace' }],
  ])(
    'under the name of a running backup is refused by that name and touches nothing of it, when it %s',
    async (_, target) => {
      await world.ask('run-3', await world.plan('run-3'));
      const [run, lease, grants] = [await world.runs.get(runId('run-3')), await world.lease(), world.keys.grants.size];
      const execution = executionOf('run-3').replace('back-up', 'restore');
      await expect(plan({ target, confirm: 'shop', run: 'run-3', execution })).rejects.toMatchObject({
        name: 'InvalidInput',
        detail: expect.stringContaining(executionOf('run-3')),
      });
      expect(await world.runs.get(runId('run-3'))).toEqual(run);
      expect(await world.lease()).toEqual(lease);
      expect(world.keys.grants.size).toBe(grants);
    },
  );

  it('is not overwritten by a backup of its name, which gives the cluster back', async () => {
    await plan({ run: 'run-3', execution: executionOf('run-3').replace('back-up', 'restore') });
    const before = await world.runs.get(runId('run-3'));
    await expect(world.plan('run-3')).rejects.toMatchObject({ name: 'InvalidInput' });
    await world.settle('run-3', { outcome: 'failed', error: 'InvalidInput', cluster: SHOP });
    expect(await world.runs.get(runId('run-3'))).toEqual(before);
    expect(world.keys.grants.size).toBe(1);
    expect(await world.lease()).toMatchObject({ held: false });
  });

  it('says what it would do, and takes, lends and writes nothing, as a preview', async () => {
    const request = { target: { mode: 'replace' }, approval: true };
    const preview = await plan({ ...request, preview: true });
    expect(await world.runs.get(runId('restore-1'))).toBeUndefined();
    expect(world.keys.grants.size).toBe(0);
    expect(await world.lease()).toMatchObject({ held: false });
    expect(await plan(request)).toEqual(preview);
  });

  it('takes an approval for the typed name', async () => {
    await expect(plan({ target: { mode: 'replace' }, approval: true })).resolves.toMatchObject({
      instruction: { mode: 'replace', directory: '/var/lib/mysql' },
    });
  });

  it('gives back lease and grant if KMS refuses', async () => {
    world.keys.failing = 'lend';
    await expect(plan({ target: { mode: 'replace' }, confirm: 'shop' })).rejects.toMatchObject({ name: 'KeyRefused' });
    expect(await world.lease()).toMatchObject({ held: false });
  });

  it('understands the plain word latest', () => {
    const input: PlanRestoreInput = planRestoreInputSchema.parse({
      cluster: SHOP,
      to: 'latest',
      target: { mode: 'replace' },
      run: 'r',
      execution: executionOf('r'),
    });
    expect(input.to).toEqual({ kind: 'latest' });
  });
});
