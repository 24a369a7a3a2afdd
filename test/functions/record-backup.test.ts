import { beforeEach, describe, expect, it } from 'vitest';
import { recordBackup } from '#functions/record-backup/record-backup.ts';
import { type SampleBackup, SHOP } from '../doubles/sample-manifest.ts';
import { type ControlPlaneUnderTest, controlPlaneUnderTest, executionOf, runId } from './control-plane-under-test.ts';

describe('recording a backup', () => {
  let world: ControlPlaneUnderTest;
  let planned: Awaited<ReturnType<ControlPlaneUnderTest['plan']>>;
  let backup: SampleBackup;
  beforeEach(async () => {
    world = await controlPlaneUnderTest();
    planned = await world.plan('run-1');
    await world.ask('run-1', planned);
    backup = world.commit(planned.decoded);
  });

  const nothingIsRecorded = async () => {
    expect(await world.chains.head(SHOP)).toBeUndefined();
    expect((await world.chains.all(SHOP)).backups).toEqual([]);
  };

  it('makes it the tip of its chain, as its manifest says', async () => {
    expect(await world.record('run-1', backup)).toMatchObject({
      backup: backup.manifest.backup,
      kind: 'full',
      seq: 0,
      fromLsn: '0',
      toLsn: backup.manifest.checkpoints.toLsn.toString(),
    });
    expect((await world.chains.head(SHOP))?.tip).toMatchObject({
      backup: backup.manifest.backup,
      manifestSha256: backup.sha256,
    });
    const { chains } = await world.chains.all(SHOP);
    expect(chains).toMatchObject([{ chain: backup.manifest.chain, keys: backup.manifest.keys }]);
  });

  it('changes nothing when it is done again', async () => {
    const first = await world.record('run-1', backup);
    const before = await world.chains.all(SHOP);
    expect(await world.record('run-1', backup)).toEqual(first);
    expect(await world.chains.all(SHOP)).toEqual(before);
  });

  it('changes nothing when it is done again after the chain went on', async () => {
    await world.record('run-1', backup);
    await world.settle('run-1');
    await world.backUp('run-2');
    const before = await world.chains.all(SHOP);
    expect(await world.record('run-1', backup)).toMatchObject({ backup: backup.manifest.backup });
    expect(await world.chains.all(SHOP)).toEqual(before);
  });

  it('finds out that its first write was made although no answer came', async () => {
    const { append } = world.chains;
    const chains = {
      ...world.chains,
      append: async (...args: Parameters<typeof append>) => {
        await append(...args);
        return 'conflict' as const;
      },
    };
    const answer = {
      kind: 'backup' as const,
      manifestKey: backup.key,
      manifestSha256: backup.sha256,
      storedBytes: 1,
      streamBytes: 1,
      seconds: {},
    };
    await expect(recordBackup({ ...world.deps, chains }, { run: runId('run-1'), answer })).resolves.toMatchObject({
      backup: backup.manifest.backup,
    });
  });

  it('refuses a manifest with another digest than the answer', async () => {
    await expect(world.record('run-1', { ...backup, sha256: 'b'.repeat(64) })).rejects.toMatchObject({
      name: 'ObjectTampered',
    });
    await nothingIsRecorded();
  });

  it('refuses an answer that points elsewhere than it was asked for', async () => {
    await expect(world.record('run-1', { ...backup, key: `${backup.key}.old` })).rejects.toMatchObject({
      name: 'ManifestInvalid',
    });
    await nothingIsRecorded();
  });

  it('refuses a backup without its manifest', async () => {
    world.repository.objects.delete(backup.key);
    await expect(world.record('run-1', backup)).rejects.toMatchObject({ name: 'ObjectMissing' });
    await nothingIsRecorded();
  });

  it.each(['segments', 'inventory', 'engineLog'] as const)('refuses a backup whose %s is not there', async (part) => {
    const objects = [backup.manifest[part]].flat();
    world.repository.objects.delete(objects.at(-1)?.key ?? '');
    await expect(world.record('run-1', backup)).rejects.toMatchObject({
      name: 'ObjectMissing',
      detail: expect.stringContaining(objects.at(-1)?.key ?? ''),
    });
    await nothingIsRecorded();
  });

  it.each([
    ['size', 'short'],
    ['content', 'first segment of 20261122T051210Z-f0000-00000X'],
  ])('refuses a backup with an object of another %s', async (_, content) => {
    world.repository.objects.set(backup.manifest.segments[0]?.key ?? '', content);
    await expect(world.record('run-1', backup)).rejects.toMatchObject({ name: 'ObjectTampered' });
    await nothingIsRecorded();
  });

  it('refuses a backup with an object that was sent again: the version that was sealed is no longer the current one', async () => {
    const [segment] = backup.manifest.segments;
    const text = world.bucket.objects.get(segment?.key ?? '') ?? '';
    world.bucket.objects.set(segment?.key ?? '', text);
    await expect(world.record('run-1', backup)).rejects.toMatchObject({
      name: 'ObjectTampered',
      detail: expect.stringContaining(`${segment?.version} was sent`),
    });
    await nothingIsRecorded();
  });

  it('records nothing for a run that lost the lease', async () => {
    world.executions.ended.add(executionOf('run-1'));
    world.repository.objects.delete(backup.key);
    await world.plan('run-2');
    // As if it had come before the plan of the other one.
    world.repository.objects.delete(backup.key);
    const late = world.commit(planned.decoded);
    await expect(world.record('run-1', late)).rejects.toMatchObject({ name: 'LeaseLost' });
    await nothingIsRecorded();
  });

  it('records nothing that was written under an earlier lease of the same run', async () => {
    world.repository.objects.delete(backup.key);
    const again = await world.plan('run-1');
    const stale = world.commit(again.decoded, { fencingToken: again.decoded.fencingToken - 1 });
    await expect(world.record('run-1', stale)).rejects.toMatchObject({ name: 'LeaseLost' });
    await nothingIsRecorded();
  });

  it('refuses a manifest that another run wrote', async () => {
    world.repository.objects.delete(backup.key);
    const foreign = world.commit((await world.plan('run-1')).decoded, { run: runId('run-0') });
    await expect(world.record('run-1', foreign)).rejects.toMatchObject({ name: 'ManifestInvalid' });
    await nothingIsRecorded();
  });

  it('refuses an increment that does not continue the line, by what does not fit', async () => {
    await world.record('run-1', backup);
    await world.settle('run-1');
    const planned = await world.plan('run-2');
    await world.ask('run-2', planned);
    const parent = planned.decoded.parent;
    if (!parent) throw new Error('a full was planned');
    const gap = world.commit(planned.decoded, {
      checkpoints: {
        type: 'incremental',
        fromLsn: (parent.toLsn + 1n) as typeof parent.toLsn,
        toLsn: (parent.toLsn + 2n) as typeof parent.toLsn,
        lastLsn: (parent.toLsn + 2n) as typeof parent.toLsn,
      },
    });
    await expect(world.record('run-2', gap)).rejects.toMatchObject({
      name: 'CatalogConflict',
      detail: expect.stringContaining('from_lsn'),
    });
    expect((await world.chains.head(SHOP))?.tip.backup).toBe(backup.manifest.backup);
  });

  it('knows no run but those that were planned', async () => {
    await expect(world.record('run-9', backup)).rejects.toMatchObject({ name: 'UnknownRun' });
  });
});
