import { beforeEach, describe, expect, it } from 'vitest';
import { RedoubtError } from '#core/errors.ts';
import { chainIdSchema, clusterIdSchema } from '#core/ids.ts';
import type { Manifest } from '#core/manifest.ts';
import { backupPrefix, manifestKey } from '#core/object-keys.ts';
import { planBackupInputSchema } from '#functions/plan-backup/plan-backup.ts';
import { planRestore, planRestoreInputSchema } from '#functions/plan-restore/plan-restore.ts';
import { DATA_KEY, OTHER_KEY } from '../doubles/fake-keys.ts';
import { HOST, ROLE, SHOP, sampleBackup, sampleCluster, sampleKey } from '../doubles/sample-manifest.ts';
import {
  addressOf,
  type ControlPlaneUnderTest,
  controlPlaneUnderTest,
  executionOf,
  runId,
} from './control-plane-under-test.ts';

const OTHER_CHAIN = chainIdSchema.parse('20200101T000000Z-000000');

describe('planning a backup', () => {
  let world: ControlPlaneUnderTest;
  beforeEach(async () => {
    world = await controlPlaneUnderTest();
  });

  it('takes a full of a cluster without a chain, under a new key that its host alone may open', async () => {
    const { decoded, agentDirectory, heartbeatSeconds } = await world.plan('run-1');
    expect(decoded).toMatchObject({ kind: 'backup', seq: 0, host: HOST, fencingToken: 1, attempt: 1 });
    expect(decoded.parent).toBeUndefined();
    expect(decoded.keys.data.context).toEqual({ cluster: SHOP, chain: decoded.chain, purpose: 'backup-data' });
    expect([...world.keys.grants.values()]).toEqual([
      { keys: { data: decoded.keys.data }, role: ROLE, name: 'redoubt-run-1-1' },
    ]);
    expect(agentDirectory).toBe('/opt/redoubt');
    expect(heartbeatSeconds).toBe(60);
  });

  it('remembers what it handed out', async () => {
    const { decoded } = await world.plan('run-1', { reason: 'before the migration' });
    expect(await world.runs.get(runId('run-1'))).toMatchObject({
      ...addressOf(decoded),
      state: 'planned',
      fencingToken: 1,
      reason: 'the cluster has no chain yet (before the migration)',
      grants: [{ grant: 'grant-of-redoubt-run-1-1' }],
    });
    expect(await world.lease()).toMatchObject({ held: true, run: 'run-1', token: 1 });
  });

  it('continues the chain from its tip, with the key of the chain', async () => {
    const full = await world.backUp('run-1');
    const { decoded } = await world.plan('run-2');
    expect(decoded).toMatchObject({
      chain: full.manifest.chain,
      seq: 1,
      expectedBytes: 0,
      parent: {
        backup: full.manifest.backup,
        manifestSha256: full.sha256,
        toLsn: full.manifest.checkpoints.toLsn,
        engineUuid: full.manifest.engine.uuid,
      },
    });
    expect(decoded.keys).toMatchObject(full.manifest.keys);
  });

  it('hands on the options of the engine and the backup history, under the name of the cluster unless it has one', async () => {
    const planned = async (history: object) => {
      const config = sampleCluster({ history, engineOptions: { slaveInfo: true } });
      return (await (await controlPlaneUnderTest({ config })).plan('run-1')).decoded;
    };
    expect(await planned({})).toMatchObject({
      history: { name: SHOP, incrementBy: 'lsn' },
      engineOptions: { slaveInfo: true },
    });
    expect((await planned({ name: 'nightly', incrementBy: 'uuid' })).history).toEqual({
      name: 'nightly',
      incrementBy: 'uuid',
    });
    expect((await world.plan('run-1')).decoded.history).toBeUndefined();
  });

  it('carries LSNs as decimal strings', async () => {
    const full = await world.backUp('run-1');
    const { instruction } = await world.plan('run-2');
    expect(instruction.parent?.toLsn).toBe(full.manifest.checkpoints.toLsn.toString());
  });

  it('never plans two chains with one id, not even within a second', async () => {
    const first = await world.backUp('run-1');
    const start = new Date('2026-11-22T05:12:10.000Z');
    world.clock.advance(start.getTime() - world.clock.now().getTime());
    const { decoded } = await world.plan('run-2', { kind: 'full' });
    expect(first.manifest.chain).toMatch(/^20261122T051210Z-/);
    expect(decoded.chain).toMatch(/^20261122T051211Z-/);
  });

  it('takes no request with a key it does not know: a misspelt one must not be a silent default', () => {
    const input = { cluster: SHOP, run: 'run-1', execution: executionOf('run-1') };
    expect(planBackupInputSchema.safeParse({ ...input, kind: 'full' }).success).toBe(true);
    expect(planBackupInputSchema.safeParse({ ...input, knid: 'full' }).success).toBe(false);
  });

  it('refuses a cluster that nobody applied', async () => {
    await expect(world.plan('run-1', { cluster: 'unknown' as typeof SHOP })).rejects.toMatchObject({
      name: 'UnknownCluster',
    });
    expect(await world.lease()).toBeUndefined();
  });

  describe('while another run holds the cluster', () => {
    it('is refused by the name of that run, and leaves it alone', async () => {
      await world.plan('run-1');
      await expect(world.plan('run-2')).rejects.toMatchObject({
        name: 'BackupInProgress',
        detail: expect.stringContaining('run-1'),
      });
      expect(await world.lease()).toMatchObject({ held: true, run: 'run-1', token: 1 });
      expect(await world.runs.get(runId('run-2'))).toBeUndefined();
      expect(world.keys.grants.size).toBe(1);
    });

    it('takes it over once its execution has ended, and ends that run', async () => {
      const abandoned = await world.plan('run-1');
      await world.ask('run-1', abandoned);
      world.executions.ended.add(executionOf('run-1'));
      const { decoded } = await world.plan('run-2');
      expect(decoded.fencingToken).toBe(2);
      expect(await world.runs.get(runId('run-1'))).toMatchObject({
        state: 'aborted',
        error: 'RunCancelled',
        grants: [],
      });
      expect(world.hosts.cancelled).toEqual(['command-1']);
      expect([...world.keys.grants.keys()]).toEqual(['grant-of-redoubt-run-2-1']);
      expect(world.log.codes()).toContain('lease-taken-over');
    });

    it('leaves the lease where it is if the abandoned run cannot be ended', async () => {
      await world.plan('run-1');
      world.executions.ended.add(executionOf('run-1'));
      world.keys.failing = 'revoke';
      await expect(world.plan('run-2')).rejects.toMatchObject({ name: 'ServiceUnavailable' });
      expect(await world.lease()).toMatchObject({ run: 'run-1', held: true, token: 1 });
      world.keys.failing = undefined;
      expect((await world.plan('run-2')).decoded.fencingToken).toBe(2);
    });
  });

  describe('with something in the repository that the catalog does not know', () => {
    it('adopts a backup whose recorder died, and continues from it', async () => {
      await world.backUp('run-1');
      const lost = await world.plan('run-2');
      await world.ask('run-2', lost);
      const committed = world.commit(lost.decoded);
      world.executions.ended.add(executionOf('run-2'));
      const { decoded } = await world.plan('run-3');
      expect(decoded.parent).toMatchObject({ backup: committed.manifest.backup, manifestSha256: committed.sha256 });
      expect(decoded.seq).toBe(2);
      expect(world.log.codes()).toContain('manifest-adopted');
    });

    it('adopts a full whose recorder died: the chain is not lost', async () => {
      await world.backUp('run-1');
      const lost = await world.plan('run-2', { kind: 'full' });
      await world.ask('run-2', lost);
      world.commit(lost.decoded);
      world.executions.ended.add(executionOf('run-2'));
      const { decoded } = await world.plan('run-3');
      expect(decoded).toMatchObject({ chain: lost.decoded.chain, seq: 1 });
      expect(decoded.keys.data).toEqual(lost.decoded.keys.data);
    });

    it('recreates a lost catalog from the manifests alone', async () => {
      const full = await world.backUp('run-1');
      await world.backUp('run-2');
      const last = await world.backUp('run-3', { kind: 'full' });
      const rebuilt = await controlPlaneUnderTest();
      for (const [key, text] of world.repository.objects) rebuilt.repository.objects.set(key, text);
      const { decoded } = await rebuilt.plan('run-4');
      expect(decoded).toMatchObject({ chain: last.manifest.chain, seq: 1 });
      const before = await world.chains.all(SHOP);
      expect(await rebuilt.chains.all(SHOP)).toEqual(before);
      expect(before.backups.map(({ chain, seq }) => [chain, seq])).toEqual([
        [full.manifest.chain, 0],
        [full.manifest.chain, 1],
        [last.manifest.chain, 0],
      ]);
    });

    it.each([
      ['missing', (key: string) => world.repository.objects.delete(key)],
      ['another than was sent', (key: string) => world.repository.objects.set(key, 'altered')],
    ])('does not adopt a backup of which an object is %s, nor remove it', async (_, damage) => {
      const full = await world.backUp('run-1');
      const lost = await world.plan('run-2');
      const committed = world.commit(lost.decoded);
      damage(committed.manifest.segments[0]?.key ?? '');
      world.executions.ended.add(executionOf('run-2'));
      const { decoded } = await world.plan('run-3');
      expect(decoded.parent?.backup).toBe(full.manifest.backup);
      expect(world.repository.objects.has(committed.key)).toBe(true);
      expect(world.log.codes()).toContain('manifest-not-adopted');
    });

    it.each([
      ['that is not JSON', () => 'not json'],
      ['that is no manifest', () => '{"format":"redoubt-manifest","version":2}'],
    ])('leaves a manifest alone %s', async (_, content) => {
      const full = await world.backUp('run-1');
      const lost = await world.plan('run-2');
      world.upload(lost.decoded);
      world.repository.objects.set(manifestKey(lost.decoded), content());
      world.executions.ended.add(executionOf('run-2'));
      const { decoded } = await world.plan('run-3');
      expect(decoded.parent?.backup).toBe(full.manifest.backup);
      expect(world.repository.objects.has(manifestKey(lost.decoded))).toBe(true);
    });

    it('does not take a manifest for a backup it lies beside', async () => {
      const full = await world.backUp('run-1');
      const lost = await world.plan('run-2');
      world.upload(lost.decoded);
      const elsewhere = sampleBackup(
        { ...addressOf(lost.decoded), seq: 7 },
        { ...(lost.decoded.parent && { tip: lost.decoded.parent }) },
      );
      world.repository.objects.set(manifestKey(lost.decoded), elsewhere.text);
      world.executions.ended.add(executionOf('run-2'));
      const { decoded } = await world.plan('run-3');
      expect(decoded.parent?.backup).toBe(full.manifest.backup);
      expect(decoded.seq).toBe(1);
    });

    it.each([
      ['the objects of another backup', ({ segments }: Manifest) => ({ segments })],
      [
        'the key of another chain',
        ({ cluster }: Manifest) => ({ keys: { data: sampleKey({ cluster, chain: OTHER_CHAIN }) } }),
      ],
    ])('does not adopt a manifest that names %s', async (_, foreign) => {
      const full = await world.backUp('run-1');
      const lost = await world.plan('run-2');
      world.commit(lost.decoded, foreign(full.manifest));
      world.executions.ended.add(executionOf('run-2'));
      const { decoded } = await world.plan('run-3');
      expect(decoded.parent?.backup).toBe(full.manifest.backup);
    });

    it('adopts of two attempts at one place the one under the newer lease', async () => {
      await world.backUp('run-1');
      const older = await world.plan('run-2');
      world.executions.ended.add(executionOf('run-2'));
      world.clock.advance(60_000);
      const newer = await world.plan('run-3');
      world.commit(older.decoded);
      const kept = world.commit(newer.decoded);
      world.executions.ended.add(executionOf('run-3'));
      const { decoded } = await world.plan('run-4');
      expect(decoded.parent?.backup).toBe(kept.manifest.backup);
    });

    it('removes what a dead run left without a manifest, and nothing else', async () => {
      const full = await world.backUp('run-1');
      const dead = await world.plan('run-2');
      world.upload(dead.decoded);
      world.repository.uploads.add(`${backupPrefix(dead.decoded)}data.00002`);
      world.executions.ended.add(executionOf('run-2'));
      await world.plan('run-3');
      const left = [...world.repository.objects.keys()];
      expect(left.filter((key) => key.startsWith(backupPrefix(dead.decoded)))).toEqual([manifestKey(dead.decoded)]);
      expect(left.filter((key) => key.startsWith(backupPrefix(full.manifest)))).toHaveLength(5);
      expect(world.repository.uploads.size).toBe(0);
    });

    it.each(['full', 'incremental'] as const)('ends the upload that is all a dead run left of its %s', async (kind) => {
      await world.backUp('run-1');
      const dead = await world.plan('run-2', { kind });
      world.repository.uploads.add(`${backupPrefix(dead.decoded)}data.00000`);
      world.executions.ended.add(executionOf('run-2'));
      await world.plan('run-3');
      expect(world.repository.uploads.size).toBe(0);
    });

    it('gives no backup the name of one that was given up in the same second', async () => {
      await world.backUp('run-1');
      const dead = await world.plan('run-2');
      await world.ask('run-2', dead);
      await world.settle('run-2', { outcome: 'failed', error: 'HostSilent', cause: '' });
      const { decoded } = await world.plan('run-3');
      expect(decoded.seq).toBe(dead.decoded.seq);
      expect(decoded.backup > dead.decoded.backup).toBe(true);
    });

    it('takes a tombstone for no backup, removes what came after it, and the tombstone once no agent can be alive', async () => {
      await world.backUp('run-1');
      const dead = await world.plan('run-2');
      await world.ask('run-2', dead);
      await world.settle('run-2', { outcome: 'failed', error: 'HostSilent', cause: '' });
      world.executions.ended.add(executionOf('run-2'));
      world.upload(dead.decoded);
      const left = () =>
        [...world.repository.objects.keys()].filter((key) => key.startsWith(backupPrefix(dead.decoded)));
      const nextPlan = async (run: string) => {
        const { decoded } = await world.plan(run);
        await world.settle(run, { outcome: 'aborted', error: 'RunCancelled' });
        return decoded.seq;
      };
      world.clock.advance(60_000);
      expect(await nextPlan('run-3')).toBe(1);
      expect(left()).toEqual([manifestKey(dead.decoded)]);
      world.clock.advance(48 * 60 * 60 * 1000);
      expect(await nextPlan('run-4')).toBe(1);
      expect(left()).toEqual([]);
    });
  });

  describe('after the host refused an increment', () => {
    const refusal = { code: 'ChainBroken', detail: 'the canary is gone' } as const;

    it('plans a full on the same host in the same run, and takes back the first grant', async () => {
      await world.backUp('run-1');
      const first = await world.plan('run-2');
      await world.ask('run-2', first);
      world.upload(first.decoded);
      const second = await world.plan('run-2', { attempt: 2, refusal });
      expect(second.decoded).toMatchObject({ seq: 0, attempt: 2, host: HOST });
      expect(second.decoded.chain).not.toBe(first.decoded.chain);
      expect(second.decoded.fencingToken).toBeGreaterThan(first.decoded.fencingToken);
      expect([...world.keys.grants.keys()]).toEqual(['grant-of-redoubt-run-2-2']);
      expect(await world.runs.get(runId('run-2'))).toMatchObject({
        state: 'planned',
        attempt: 2,
        reason: 'ChainBroken: the canary is gone',
      });
      expect(await world.repository.list(backupPrefix(first.decoded))).toEqual([manifestKey(first.decoded)]);
    });

    it('keeps the time at which the run started', async () => {
      await world.plan('run-1');
      const { startedAt } = (await world.runs.get(runId('run-1'))) ?? {};
      world.clock.advance(5_000);
      await world.plan('run-1', { attempt: 2, refusal });
      expect((await world.runs.get(runId('run-1')))?.startedAt).toBe(startedAt);
    });
  });

  describe('when something fails after the lease was taken', () => {
    it.each(['generate', 'lend'] as const)('gives everything back if KMS refuses to %s', async (operation) => {
      world.keys.failing = operation;
      await expect(world.plan('run-1')).rejects.toMatchObject({ name: 'KeyRefused' });
      expect(await world.lease()).toMatchObject({ held: false });
      expect(world.keys.grants.size).toBe(0);
      world.keys.failing = undefined;
      await expect(world.plan('run-2')).resolves.toBeDefined();
    });

    it('gives back the grant too if it could not be written down', async () => {
      const { transition } = world.runs;
      const runs = {
        ...world.runs,
        transition: async (...args: Parameters<typeof transition>) => {
          if (args[1] === 'replan')
            throw new RedoubtError('CatalogUnavailable', 'DynamoDB answered InternalServerError');
          return transition(...args);
        },
      };
      const broken = await controlPlaneUnderTest({ catalog: { ...world.deps, runs } });
      await expect(broken.plan('run-1')).rejects.toMatchObject({ name: 'CatalogUnavailable' });
      expect(broken.keys.grants.size).toBe(0);
      expect(await broken.lease()).toMatchObject({ held: false });
    });

    it('throws the first error even if giving back fails as well', async () => {
      const leases = {
        ...world.leases,
        release: async () => {
          throw new RedoubtError('CatalogUnavailable', 'DynamoDB answered InternalServerError');
        },
      };
      const broken = await controlPlaneUnderTest({ catalog: { ...world.deps, leases } });
      broken.keys.failing = 'lend';
      await expect(broken.plan('run-1')).rejects.toMatchObject({ name: 'KeyRefused' });
      expect(broken.log.codes()).toContain('undo-failed');
    });

    it('refuses to plan a run that has ended', async () => {
      await world.plan('run-1');
      await world.settle('run-1', { outcome: 'aborted', error: 'RunCancelled' });
      await expect(world.plan('run-1')).rejects.toMatchObject({ name: 'RunCancelled' });
      expect(await world.lease()).toMatchObject({ held: false });
    });
  });

  describe('with grants that no record of a run knows', () => {
    const lend = (name: string, kmsKey = DATA_KEY, cluster = SHOP) =>
      world.keys.lend({
        keys: { data: { ...sampleKey({ cluster, chain: OTHER_CHAIN }), kmsKey } },
        role: ROLE,
        name,
      });
    const restore = (run: string) =>
      planRestore(
        world.deps,
        planRestoreInputSchema.parse({
          cluster: SHOP,
          run,
          execution: executionOf(run),
          target: { mode: 'prepare-only', directory: '/srv/restored' },
        }),
      );
    const names = () => [...world.keys.grants.values()].map(({ name }) => name).sort();

    it('takes them back, whatever key of the control plane they are on: the catalog was lost', async () => {
      await lend('redoubt-lost-backup-2');
      await lend('redoubt-lost-restore-1', OTHER_KEY);
      await world.plan('run-1');
      expect(names()).toEqual(['redoubt-run-1-1']);
      expect(world.log.codes().filter((code) => code === 'stray-grant-revoked')).toHaveLength(2);
    });

    it('leaves other clusters and grants of other makers alone', async () => {
      await lend('redoubt-of-another-1', DATA_KEY, clusterIdSchema.parse('another'));
      await lend('made by hand');
      await world.plan('run-1');
      expect(names()).toEqual(['made by hand', 'redoubt-of-another-1', 'redoubt-run-1-1']);
    });

    it('leaves a restore that goes on its grant, even one that begins at this moment', async () => {
      await world.backUp('run-1');
      await restore('restore-1');
      const { findGrants } = world.keys;
      world.keys.findGrants = async (...args) => {
        if (args[0] === DATA_KEY) await restore('restore-2');
        return findGrants(...args);
      };
      await world.plan('run-2');
      expect(names()).toEqual(['redoubt-restore-1-1', 'redoubt-restore-2-1', 'redoubt-run-2-1']);
    });

    it('takes back what an ended run could not give back', async () => {
      await world.plan('run-1');
      world.keys.failing = 'revoke';
      await expect(world.settle('run-1', { outcome: 'failed', error: 'EngineFailed' })).rejects.toBeDefined();
      world.keys.failing = undefined;
      await world.plan('run-2');
      expect(names()).toEqual(['redoubt-run-2-1']);
    });

    it('takes back what a first try of this run lent and could not write down', async () => {
      await world.plan('run-1');
      await world.runs.setGrants(runId('run-1'), []);
      const { decoded } = await world.plan('run-1');
      expect([...world.keys.grants.values()].map(({ keys }) => keys.data)).toEqual([decoded.keys.data]);
    });

    it('misses no backup because KMS does not say which there are', async () => {
      await lend('redoubt-lost-1');
      world.keys.failing = 'findGrants';
      await world.plan('run-1');
      expect(world.log.codes()).toContain('stray-grants-unknown');
      await world.settle('run-1', { outcome: 'failed', error: 'EngineFailed' });
      world.keys.failing = undefined;
      await world.plan('run-2');
      expect(names()).toEqual(['redoubt-run-2-1']);
    });
  });

  it('takes back the grant of a first try when the function is tried again', async () => {
    await world.plan('run-1');
    const again = await world.plan('run-1');
    expect(again.decoded.fencingToken).toBe(2);
    expect(world.keys.lent).toEqual(['redoubt-run-1-1', 'redoubt-run-1-1']);
    expect(world.keys.grants.size).toBe(1);
  });

  it('backs up the first host of the file for a new chain', async () => {
    const config = sampleCluster({
      hosts: [
        { instance: 'i-00000000000000001', role: ROLE },
        { instance: HOST, role: ROLE, agentDirectory: '/srv/redoubt' },
      ],
    });
    const { decoded } = await (await controlPlaneUnderTest({ config })).plan('run-1');
    expect(decoded.host).toBe('i-00000000000000001');
  });
});
