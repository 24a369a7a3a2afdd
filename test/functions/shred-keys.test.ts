import { beforeEach, describe, expect, it } from 'vitest';
import { RedoubtError } from '#core/errors.ts';
import type { ChainId } from '#core/ids.ts';
import { shredRequestSchema } from '#core/key-requests.ts';
import { manifestDigestInput, manifestSchema } from '#core/manifest.ts';
import { isManifestKey, manifestKey } from '#core/object-keys.ts';
import { keysLeftIn } from '#core/wrapped-key.ts';
import { askHost, askHostInputSchema } from '#functions/ask-host/ask-host.ts';
import { planBackup } from '#functions/plan-backup/plan-backup.ts';
import { planRestore, planRestoreInputSchema } from '#functions/plan-restore/plan-restore.ts';
import { rewrapKeys } from '#functions/rewrap-keys/rewrap-keys.ts';
import { type ShredKeysDeps, shredKeys } from '#functions/shred-keys/shred-keys.ts';
import { OTHER_KEY } from '../doubles/fake-keys.ts';
import { inMemoryCatalog } from '../doubles/in-memory-catalog.ts';
import { SHOP, sampleCluster } from '../doubles/sample-manifest.ts';
import { type ControlPlaneUnderTest, controlPlaneUnderTest, executionOf, runId } from './control-plane-under-test.ts';

/** LSNs are decimal strings on the wire. */
const wireValue = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);

const restore = (world: ControlPlaneUnderTest, run = 'restore-1', to: unknown = 'latest') =>
  planRestore(
    world.deps,
    planRestoreInputSchema.parse({
      cluster: SHOP,
      to,
      target: { mode: 'prepare-only', directory: '/srv/restored' },
      run,
      execution: executionOf(run),
    }),
  );

describe.each([{ versioned: true }, { versioned: false }])(
  'shredding, in a bucket with $versioned versions',
  (bucket) => {
    let world: ControlPlaneUnderTest;
    let older: ChainId;
    let newer: ChainId;
    /** Every form of the newer chain's key that was ever stored. */
    let secrets: string[];

    beforeEach(async () => {
      world = await controlPlaneUnderTest(bucket);
      await world.backUp('run-1');
      await world.backUp('run-2', { kind: 'full' });
      // Falls back to a full: its first instruction holds the newer chain's keys, its record names another chain.
      await world.backUp('run-3');
      [older, newer] = (await world.chains.all(SHOP)).chains.map(({ chain }) => chain) as [ChainId, ChainId];
      secrets = await ciphertexts();
      await rewrapKeys(world.deps, { cluster: SHOP, chain: newer, to: OTHER_KEY, execute: true });
      secrets.push(...(await ciphertexts()));
    });

    const ciphertexts = async () =>
      (await world.chains.all(SHOP)).chains
        .filter(({ chain }) => chain === newer)
        .flatMap(({ keys }) => keysLeftIn(keys).map(({ ciphertext }) => ciphertext));

    const shred = (request: object = {}, deps: ShredKeysDeps = world.deps) =>
      shredKeys(
        deps,
        shredRequestSchema.parse({ cluster: SHOP, chain: newer, confirm: newer, by: 'ada@laptop', ...request }),
      );

    /** Everything that can be read: the bucket with all versions, the table, the log, what was sent to hosts. */
    const readable = async (): Promise<string> =>
      JSON.stringify(
        [
          world.repository.everything(),
          await world.chains.all(SHOP),
          await world.chains.head(SHOP),
          await world.runs.all(SHOP),
          world.log.lines,
          world.hosts.asked,
        ],
        wireValue,
      );

    const found = async (): Promise<readonly string[]> => {
      const text = await readable();
      const forms = secrets.flatMap((secret) => {
        const bytes = Buffer.from(secret, 'base64');
        return [secret, bytes.toString('base64url'), bytes.toString('hex'), bytes.toString('latin1')];
      });
      return forms.filter((form) => text.includes(form));
    };

    it('leaves no copy of a wrapped key anywhere, in no form', async () => {
      expect(secrets).toHaveLength(2);
      expect((await found()).length).toBeGreaterThan(0);
      const answer = await shred();
      expect(answer).toMatchObject({ chain: newer, backups: 2, manifests: 2, instructions: 2 });
      expect(answer.versions).toBe(bucket.versioned ? 4 : 0);
      expect(await found()).toEqual([]);
    });

    it('finds the instruction of a run that fell back to another chain', async () => {
      const planned = await world.plan('run-4');
      await world.ask('run-4', planned);
      secrets.push(planned.decoded.keys.data.ciphertext);
      const refusal = { code: 'ServerChanged', detail: 'uuid' } as const;
      const full = await world.plan('run-4', { attempt: 2, refusal });
      expect(full.decoded.chain).not.toBe(newer);
      await world.ask('run-4', full);
      await world.record('run-4', world.commit(full.decoded));
      await world.settle('run-4');
      world.executions.ended.add(executionOf('run-4'));
      expect(await shred()).toMatchObject({ instructions: 3 });
      expect(await found()).toEqual([]);
      const kept = [...world.repository.objects.keys()].filter((key) => key.startsWith('runs/shop/run-4/'));
      expect(kept).toEqual(['runs/shop/run-4/instruction-2.json']);
    });

    it('passes tombstones over', async () => {
      const planned = await world.plan('run-4');
      await world.ask('run-4', planned);
      await world.settle('run-4', { outcome: 'failed', error: 'HostSilent', cause: '' });
      world.executions.ended.add(executionOf('run-4'));
      const tombstone = world.repository.objects.get(manifestKey(planned.decoded));
      expect(planned.decoded.chain).toBe(newer);
      await shred();
      expect(world.repository.objects.get(manifestKey(planned.decoded))).toBe(tombstone);
    });

    it('finds manifests that the catalog does not know, and those that somebody removed', async () => {
      const planned = await world.plan('run-4');
      await world.ask('run-4', planned);
      const { key } = world.commit(planned.decoded);
      await world.settle('run-4', { outcome: 'aborted', error: 'RunCancelled' });
      world.executions.ended.add(executionOf('run-4'));
      const [removed = ''] = [...world.repository.objects.keys()].filter(
        (one) => isManifestKey(one) && one.includes(newer),
      );
      expect(removed).not.toBe(key);
      world.repository.objects.delete(removed);
      await shred();
      expect(await found()).toEqual([]);
      expect(world.repository.objects.has(removed)).toBe(false);
    });

    it('leaves the data, and of the manifests everything but the keys', async () => {
      const before = new Map(world.repository.objects);
      await shred({ reason: 'contract ended' });
      const shredded = { at: expect.any(String), by: 'ada@laptop', reason: 'contract ended' };
      for (const [key, text] of world.repository.objects) {
        if (!isManifestKey(key) || !key.includes(newer)) expect(text).toBe(before.get(key));
        else {
          expect(manifestDigestInput(text)).toBe(manifestDigestInput(before.get(key) ?? ''));
          expect(manifestSchema.parse(JSON.parse(text)).keys).toEqual({ shredded });
        }
      }
      expect([...before.keys()].filter((key) => !world.repository.objects.has(key))).toEqual([
        'runs/shop/run-2/instruction-1.json',
        'runs/shop/run-3/instruction-1.json',
      ]);
      expect(await world.chains.chain(SHOP, newer)).toMatchObject({ keys: { shredded } });
    });

    it('leaves the other chains as they are', async () => {
      await shred();
      const { backups } = await world.chains.all(SHOP);
      const [full] = backups.filter(({ chain }) => chain === older);
      const planned = await restore(world, 'restore-1', { kind: 'backup', backup: full?.backup });
      expect(planned.instruction).toMatchObject({ chain: older });
    });

    it('makes a restore of the chain impossible, by name', async () => {
      await shred();
      const error = await restore(world).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ name: 'KeyShredded', detail: expect.stringContaining('by ada@laptop') });
      expect(world.keys.grants.size).toBe(0);
    });

    it('makes the next backup a full, and says why', async () => {
      await shred();
      const { decoded } = await world.plan('run-4', { kind: 'incremental' });
      expect(decoded).toMatchObject({ seq: 0, reason: `the keys of chain ${newer} were shredded` });
      expect(decoded.chain > newer).toBe(true);
    });

    it('of a chain that is not the newest leaves the newest to go on', async () => {
      await shred({ chain: older, confirm: older });
      expect((await world.plan('run-4')).decoded).toMatchObject({ chain: newer, seq: 2 });
    });

    it('is known to a catalog that is made anew from the manifests', async () => {
      await shred();
      const catalog = inMemoryCatalog();
      await catalog.clusters.put(sampleCluster());
      const planned = await planBackup(
        { ...world.deps, ...catalog },
        { cluster: SHOP, kind: 'auto', run: runId('run-9'), execution: executionOf('run-9'), attempt: 1 },
      );
      expect(planned.instruction).toMatchObject({ seq: 0, reason: `the keys of chain ${newer} were shredded` });
      const { chains, backups } = await catalog.chains.all(SHOP);
      expect(chains.map(({ keys }) => 'shredded' in keys)).toEqual([false, true]);
      expect(backups).toHaveLength(3);
    });

    it('may be run again, and keeps who did it first', async () => {
      const first = await shred();
      world.clock.advance(60_000);
      const again = await shred({ by: 'bob@laptop' });
      expect(again).toEqual({ ...first, manifests: 0, versions: 0, instructions: 0 });
    });

    it.each([1, 2, 3, 4, 5])(
      'that dies at its write number %i is invalidated first, and finished by the next',
      async (nth) => {
        let writes = 0;
        const counted = ['replace', 'removeVersion'] as const;
        const repository = { ...world.deps.repository };
        for (const name of counted) {
          const act = repository[name] as (...args: unknown[]) => Promise<unknown>;
          Object.assign(repository, {
            [name]: async (...args: unknown[]) => {
              writes += 1;
              if (writes >= nth) throw new RedoubtError('RepositoryUnavailable', 'the function died');
              return act(...args);
            },
          });
        }
        const died = await shred({}, { ...world.deps, repository }).catch((thrown: unknown) => thrown);
        if (writes >= nth)
          expect(died).toMatchObject({
            name: 'RepositoryUnavailable',
            detail: expect.stringContaining('run it again'),
          });
        await expect(restore(world)).rejects.toMatchObject({ name: 'KeyShredded' });
        await shred();
        expect(await found()).toEqual([]);
      },
    );

    it.runIf(bucket.versioned)(
      'says that copies are left where a lock keeps a version, and removes all the others',
      async () => {
        const { repository } = world.deps;
        let isLocked = true;
        const locking = {
          ...repository,
          removeVersion: async (version: { readonly key: string; readonly version?: string }) => {
            if (isLocked && version.key.includes('-f0000-'))
              throw new RedoubtError('RepositoryRefused', `removing ${version.key}`);
            await repository.removeVersion(version);
          },
        };
        await expect(shred({}, { ...world.deps, repository: locking })).rejects.toMatchObject({
          name: 'RepositoryRefused',
          detail: expect.stringMatching(/copies of its wrapped keys are left; run it again: removing .*-f0000-/),
        });
        const left = (await repository.versions(`clusters/`)).filter(
          ({ key, isLatest }) => isManifestKey(key) && key.includes(newer) && !isLatest,
        );
        expect(left.every(({ key }) => key.includes('-f0000-'))).toBe(true);
        isLocked = false;
        await shred({}, { ...world.deps, repository: locking });
        expect(await found()).toEqual([]);
      },
    );

    it.each([
      ['nothing typed', { confirm: undefined }, 'ConfirmationMissing'],
      ['another chain typed', { confirm: '20260101T000000Z-000000' }, 'ConfirmationMissing'],
      ['an unknown chain', { chain: '20260101T000000Z-000000' }, 'UnknownBackup'],
    ])('refuses %s, and changes nothing', async (_, request, name) => {
      const before = await readable();
      await expect(shred(request)).rejects.toMatchObject({ name });
      expect(await readable()).toBe(before);
    });

    it('of the last chain that can be restored needs to be said once more', async () => {
      await shred();
      await expect(shred({ chain: older, confirm: older })).rejects.toMatchObject({
        name: 'ConfirmationMissing',
        detail: expect.stringContaining('--last'),
      });
      await expect(shred({ chain: older, confirm: older, last: true })).resolves.toMatchObject({ chain: older });
      await expect(restore(world)).rejects.toMatchObject({ name: 'KeyShredded' });
    });

    it('waits for whoever works: a backup of the cluster, a restore from the chain', async () => {
      await world.plan('run-4');
      await expect(shred()).rejects.toMatchObject({
        name: 'BackupInProgress',
        detail: expect.stringContaining('run-4'),
      });
      await world.settle('run-4', { outcome: 'failed', error: 'AgentDied' });
      await restore(world);
      await expect(shred()).rejects.toMatchObject({
        name: 'BackupInProgress',
        detail: expect.stringContaining('restore-1'),
      });
      expect(await world.chains.chain(SHOP, newer)).toMatchObject({ keys: { data: expect.anything() } });
    });

    it('ends a run of the chain whose execution has ended, and takes its grant back', async () => {
      await restore(world);
      expect(world.keys.grants.size).toBe(1);
      world.executions.ended.add(executionOf('restore-1'));
      await shred();
      expect(world.keys.grants.size).toBe(0);
      expect(await world.runs.get(runId('restore-1'))).toMatchObject({ state: 'aborted' });
      expect(await found()).toEqual([]);
    });

    it('that overtakes a restore between its plan and its host gives the host nothing', async () => {
      const { instruction } = await restore(world);
      const lease = await world.lease();
      await world.chains.shred({
        cluster: SHOP,
        chain: newer,
        shredded: { at: '2026-11-23T00:00:00Z', by: 'ada' },
        lease,
      });
      const asked = askHost(
        world.deps,
        askHostInputSchema.parse({ taskToken: 't', instruction, agentDirectory: '/opt/redoubt' }),
      );
      await expect(asked).rejects.toMatchObject({ name: 'KeyShredded' });
      expect([...world.repository.objects.keys()]).not.toContain('runs/shop/restore-1/instruction-1.json');
    });
  },
);
