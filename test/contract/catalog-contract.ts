import { beforeEach, describe, expect, it } from 'vitest';
import { appendBackup } from '#core/append-backup.ts';
import type { ChainHead, Lease, PlannedRun, UnplannedRun } from '#core/catalog-records.ts';
import { runStates } from '#core/catalog-records.ts';
import { clusterIdSchema, type RunId, runIdSchema } from '#core/ids.ts';
import type { BackupAddress } from '#core/object-keys.ts';
import type { AppendOutcome } from '#core/ports/chains.ts';
import type { LeaseRequest } from '#core/ports/leases.ts';
import { type RunTransition, runTransitions } from '#core/run-transitions.ts';
import type { Catalog } from '../doubles/in-memory-catalog.ts';
import { HOST, SHOP, sampleAddress, sampleBackup, sampleCluster, sampleKey } from '../doubles/sample-manifest.ts';

const OTHER = clusterIdSchema.parse('other');
const NOW = new Date('2026-11-22T05:12:10.000Z');
const later = (seconds: number) => new Date(NOW.getTime() + seconds * 1000);

const runA = runIdSchema.parse('run-a');
const runB = runIdSchema.parse('run-b');

const leaseRequest = (run: RunId, now = NOW): LeaseRequest => ({
  cluster: SHOP,
  run,
  execution: `arn:aws:states:us-east-1:111122223333:execution:back-up:${run}`,
  now,
  seconds: 3600,
});

const plannedRun = (run: RunId, facts: Partial<PlannedRun> = {}): PlannedRun & { readonly state: 'planned' } => {
  const { chain, backup, seq } = sampleAddress(0);
  return {
    run,
    cluster: SHOP,
    kind: 'backup',
    execution: leaseRequest(run).execution,
    startedAt: NOW.toISOString(),
    reason: 'the cluster has no chain yet',
    host: HOST,
    chain,
    backup,
    seq,
    attempt: 1,
    fencingToken: 1,
    grants: [],
    ...facts,
    state: 'planned',
  };
};

/** What every catalog promises, whatever it is made of. `create` gives an empty one. */
export const catalogContract = (name: string, create: () => Promise<Catalog>): void => {
  describe(`the catalog: ${name}`, () => {
    let catalog: Catalog;
    beforeEach(async () => {
      catalog = await create();
    });

    const acquire = async (run: RunId, now = NOW): Promise<Lease> => {
      const acquired = await catalog.leases.acquire(leaseRequest(run, now));
      expect(acquired.kind).toBe('acquired');
      return acquired.lease;
    };

    const append = async (at: BackupAddress, lease: Pick<Lease, 'run' | 'token'>): Promise<AppendOutcome> => {
      const expected = await catalog.chains.head(SHOP);
      return appendOver(expected, at, lease);
    };

    const appendOver = (
      expected: ChainHead | undefined,
      at: BackupAddress,
      lease: Pick<Lease, 'run' | 'token'>,
    ): Promise<AppendOutcome> => {
      const { manifest, key, sha256 } = sampleBackup(at, expected && at.seq > 0 ? { tip: expected.tip } : {});
      const decision = appendBackup(expected, manifest, key, sha256);
      if (decision.kind !== 'append') throw new Error(JSON.stringify(decision));
      const { kind: _kind, ...change } = decision;
      return catalog.chains.append({ cluster: SHOP, expected, lease, ...change });
    };

    describe('clusters', () => {
      it('gives back what was put, and nothing for an unknown one', async () => {
        const config = sampleCluster({ policy: { schedule: 'rate(6 hours)' } });
        await catalog.clusters.put(config);
        expect(await catalog.clusters.get(SHOP)).toEqual(config);
        expect(await catalog.clusters.get(OTHER)).toBeUndefined();
      });

      it('replaces what was put before', async () => {
        await catalog.clusters.put(sampleCluster({ policy: { maxIncrements: 3 } }));
        await catalog.clusters.put(sampleCluster({ policy: { maxIncrements: 4 } }));
        expect((await catalog.clusters.get(SHOP))?.policy.maxIncrements).toBe(4);
        expect(await catalog.clusters.list()).toHaveLength(1);
      });

      it('keeps when each was first applied', async () => {
        await catalog.clusters.put(sampleCluster({ policy: { maxIncrements: 3 } }));
        const first = await catalog.clusters.applied();
        await catalog.clusters.put(sampleCluster({ policy: { maxIncrements: 4 } }));
        expect(await catalog.clusters.applied()).toEqual([
          { config: sampleCluster({ policy: { maxIncrements: 4 } }), firstAppliedAt: first[0]?.firstAppliedAt },
        ]);
        expect(first[0]?.firstAppliedAt).toBeInstanceOf(Date);
      });

      it('lists all clusters by name', async () => {
        await catalog.clusters.put(sampleCluster());
        await catalog.clusters.put(sampleCluster({ cluster: OTHER }));
        expect((await catalog.clusters.list()).map(({ cluster }) => cluster)).toEqual([OTHER, SHOP]);
      });
    });

    describe('leases', () => {
      it('gives the lease to the first who asks, and names the holder to the second', async () => {
        const lease = await acquire(runA);
        const second = await catalog.leases.acquire(leaseRequest(runB));
        expect(second).toEqual({ kind: 'held', lease });
        expect(await catalog.leases.get(SHOP)).toEqual(lease);
      });

      it('never gives the same token twice, whatever happens to the lease', async () => {
        const first = await acquire(runA);
        await catalog.leases.release(SHOP, first.token);
        const second = await acquire(runB);
        await catalog.leases.release(SHOP, second.token);
        const third = await acquire(runA);
        expect(second.token).toBeGreaterThan(first.token);
        expect(third.token).toBeGreaterThan(second.token);
      });

      it('gives a run that asks again a new token', async () => {
        const first = await acquire(runA);
        const second = await acquire(runA, later(5));
        expect(second.token).toBeGreaterThan(first.token);
      });

      it('gives nothing to another execution of the same name', async () => {
        const lease = await acquire(runA);
        const execution = leaseRequest(runA).execution.replace('back-up', 'restore');
        expect(await catalog.leases.acquire({ ...leaseRequest(runA), execution })).toEqual({ kind: 'held', lease });
      });

      it('gives an expired lease to who asks, and one that has not expired to nobody', async () => {
        await acquire(runA);
        expect((await catalog.leases.acquire(leaseRequest(runB, later(3600)))).kind).toBe('held');
        expect((await catalog.leases.acquire(leaseRequest(runB, later(3601)))).kind).toBe('acquired');
      });

      it('lets one of two take a lease over', async () => {
        const held = await acquire(runA);
        const [b, c] = await Promise.all([
          catalog.leases.takeOver(leaseRequest(runB), held),
          catalog.leases.takeOver(leaseRequest(runIdSchema.parse('run-c')), held),
        ]);
        expect([b.kind, c.kind].sort()).toEqual(['acquired', 'held']);
      });

      it('releases only by the current token', async () => {
        const held = await acquire(runA);
        const taken = await catalog.leases.takeOver(leaseRequest(runB), held);
        expect(await catalog.leases.release(SHOP, held.token)).toBe(false);
        expect((await catalog.leases.get(SHOP))?.held).toBe(true);
        expect(await catalog.leases.release(SHOP, taken.lease.token)).toBe(true);
        expect((await catalog.leases.get(SHOP))?.held).toBe(false);
      });

      it('gives one of many who ask at once the lease', async () => {
        const runs = Array.from({ length: 8 }, (_, index) => runIdSchema.parse(`run-${index}`));
        const answers = await Promise.all(runs.map((run) => catalog.leases.acquire(leaseRequest(run))));
        expect(answers.filter(({ kind }) => kind === 'acquired')).toHaveLength(1);
      });
    });

    describe('chains', () => {
      it('appends a full, and increments on it, and reads all of them back', async () => {
        const lease = await acquire(runA);
        for (const seq of [0, 1, 2]) expect(await append(sampleAddress(seq), lease)).toBe('appended');
        const { chains, backups } = await catalog.chains.all(SHOP);
        expect(chains.map(({ chain }) => chain)).toEqual([sampleAddress(0).chain]);
        expect(backups.map(({ seq }) => seq)).toEqual([0, 1, 2]);
        const head = await catalog.chains.head(SHOP);
        expect(head?.tip).toMatchObject({ backup: sampleAddress(2).backup, seq: 2 });
        expect(await catalog.chains.backup(SHOP, sampleAddress(1).chain, 1)).toEqual(backups[1]);
      });

      it('keeps LSNs that no number can hold', async () => {
        const lease = await acquire(runA);
        await append(sampleAddress(0), lease);
        const head = await catalog.chains.head(SHOP);
        if (!head) throw new Error('no head');
        const toLsn = 18_446_744_073_709_551_615n;
        const at = sampleAddress(1);
        const { manifest, key, sha256 } = sampleBackup(at, {
          tip: head.tip,
          checkpoints: { type: 'incremental', fromLsn: head.tip.toLsn, toLsn, lastLsn: toLsn } as never,
        });
        const decision = appendBackup(head, manifest, key, sha256);
        if (decision.kind !== 'append') throw new Error(JSON.stringify(decision));
        const { kind: _kind, ...change } = decision;
        await catalog.chains.append({ cluster: SHOP, expected: head, lease, ...change });
        expect((await catalog.chains.head(SHOP))?.tip.toLsn).toBe(toLsn);
        expect((await catalog.chains.backup(SHOP, at.chain, 1))?.toLsn).toBe(toLsn);
      });

      it('sorts chains by their ids and backups by their places', async () => {
        const lease = await acquire(runA);
        for (const seq of [0, 1]) await append(sampleAddress(seq, 22), lease);
        for (const seq of [0, 1]) await append(sampleAddress(seq, 23), lease);
        const { backups } = await catalog.chains.all(SHOP);
        expect(backups.map(({ chain, seq }) => [chain, seq])).toEqual([
          [sampleAddress(0, 22).chain, 0],
          [sampleAddress(0, 22).chain, 1],
          [sampleAddress(0, 23).chain, 0],
          [sampleAddress(0, 23).chain, 1],
        ]);
      });

      it('refuses who does not hold the lease, and writes nothing', async () => {
        expect(await append(sampleAddress(0), { run: runA, token: 1 })).toBe('lease-lost');
        const held = await acquire(runA);
        await catalog.leases.takeOver(leaseRequest(runB), held);
        expect(await append(sampleAddress(0), held)).toBe('lease-lost');
        expect(await catalog.chains.head(SHOP)).toBeUndefined();
        expect(await catalog.chains.all(SHOP)).toEqual({ chains: [], backups: [] });
      });

      it('refuses who has released the lease', async () => {
        const lease = await acquire(runA);
        await catalog.leases.release(SHOP, lease.token);
        expect(await append(sampleAddress(0), lease)).toBe('lease-lost');
      });

      it('refuses a token that another run holds', async () => {
        const lease = await acquire(runA);
        expect(await append(sampleAddress(0), { run: runB, token: lease.token })).toBe('lease-lost');
      });

      it('appends one of two increments to the same tip', async () => {
        const lease = await acquire(runA);
        await append(sampleAddress(0), lease);
        const head = await catalog.chains.head(SHOP);
        const one = sampleAddress(1);
        const two = { ...one, backup: sampleAddress(1, 22).backup.replace('051310', '051311') as typeof one.backup };
        expect(await appendOver(head, one, lease)).toBe('appended');
        expect(await appendOver(head, two, lease)).toBe('conflict');
        expect((await catalog.chains.head(SHOP))?.tip.backup).toBe(one.backup);
      });

      it('refuses a first full where a head is there already', async () => {
        const lease = await acquire(runA);
        await append(sampleAddress(0), lease);
        expect(await appendOver(undefined, sampleAddress(0, 23), lease)).toBe('conflict');
        expect((await catalog.chains.all(SHOP)).chains).toHaveLength(1);
      });

      it('refuses a backup that is recorded already', async () => {
        const lease = await acquire(runA);
        const head = await catalog.chains.head(SHOP);
        expect(await appendOver(head, sampleAddress(0), lease)).toBe('appended');
        expect(await appendOver(head, sampleAddress(0), lease)).toBe('conflict');
      });
    });

    describe('the keys of a chain', () => {
      const at = sampleAddress(0);
      const shredded = { at: NOW.toISOString(), by: 'ada@laptop' };
      const from = { data: sampleKey(at) };
      const to = { data: { ...from.data, ciphertext: Buffer.from('anew').toString('base64') } };
      const keysNow = async () => (await catalog.chains.chain(SHOP, at.chain))?.keys;

      it('are wrapped anew over what was read, and over nothing else', async () => {
        await append(at, await acquire(runA));
        expect(await catalog.chains.rewrap(SHOP, at.chain, from, to)).toBe(true);
        expect(await keysNow()).toEqual(to);
        expect(await catalog.chains.rewrap(SHOP, at.chain, from, to)).toBe(false);
        expect(await catalog.chains.rewrap(SHOP, sampleAddress(0, 23).chain, from, to)).toBe(false);
        expect(await keysNow()).toEqual(to);
      });

      it('are shredded together with the head, and are not wrapped anew after that', async () => {
        const { token } = await acquire(runA);
        await append(at, { run: runA, token });
        await catalog.leases.release(SHOP, token);
        const lease = await catalog.leases.get(SHOP);
        expect(await catalog.chains.shred({ cluster: SHOP, chain: at.chain, shredded, lease })).toBe(true);
        expect(await keysNow()).toEqual({ shredded });
        expect(await catalog.chains.head(SHOP)).toMatchObject({ chain: at.chain, shredded });
        expect(await catalog.chains.rewrap(SHOP, at.chain, from, to)).toBe(false);
      });

      it('are shredded of an older chain, and the head stays open', async () => {
        const lease = await acquire(runA);
        await append(at, lease);
        await append(sampleAddress(0, 23), lease);
        expect(await catalog.chains.shred({ cluster: SHOP, chain: at.chain, shredded, lease })).toBe(true);
        expect((await catalog.chains.head(SHOP))?.shredded).toBeUndefined();
      });

      it('stay where somebody took the lease since it was read, or there is no such chain', async () => {
        const lease = await acquire(runA);
        await append(at, lease);
        await catalog.leases.release(SHOP, lease.token);
        await acquire(runB);
        expect(await catalog.chains.shred({ cluster: SHOP, chain: at.chain, shredded, lease })).toBe(false);
        expect(await catalog.chains.shred({ cluster: SHOP, chain: at.chain, shredded, lease: undefined })).toBe(false);
        expect(await keysNow()).toEqual(from);
        const unknown = sampleAddress(0, 23).chain;
        const now = await catalog.leases.get(SHOP);
        expect(await catalog.chains.shred({ cluster: SHOP, chain: unknown, shredded, lease: now })).toBe(false);
      });
    });

    describe('runs', () => {
      it('keep what they were lent until it is given back', async () => {
        const lent = { keys: { data: sampleKey(sampleAddress(0)) }, grantToken: 'token' };
        await catalog.runs.plan(plannedRun(runA));
        await catalog.runs.transition(runA, 'replan', { lent });
        expect(await catalog.runs.get(runA)).toMatchObject({ lent });
        await catalog.runs.setGrants(runA, []);
        expect(await catalog.runs.get(runA)).toMatchObject({ lent: null });
        await catalog.runs.transition(runA, 'replan', { lent });
        await catalog.runs.transition(runA, 'fail', { lent: null });
        expect(await catalog.runs.get(runA)).toMatchObject({ lent: null });
      });

      describe('that ended before they were planned', () => {
        const unplanned = (facts: Partial<UnplannedRun> = {}): UnplannedRun => ({
          run: runA,
          cluster: SHOP,
          kind: 'backup',
          state: 'refused',
          execution: plannedRun(runA).execution,
          startedAt: NOW.toISOString(),
          endedAt: later(1).toISOString(),
          error: 'BackupInProgress',
          detail: 'another run holds it',
          ...facts,
        });

        it('are written down once', async () => {
          expect(await catalog.runs.recordUnplanned(unplanned())).toBeUndefined();
          expect(await catalog.runs.recordUnplanned(unplanned({ detail: 'again' }))).toEqual(unplanned());
          expect(await catalog.runs.get(runA)).toEqual(unplanned());
        });

        it('never replace a run that was planned, and are never planned, asked or ended', async () => {
          await catalog.runs.plan(plannedRun(runA));
          expect(await catalog.runs.recordUnplanned(unplanned())).toEqual(plannedRun(runA));
          await catalog.runs.recordUnplanned(unplanned({ run: runB }));
          const inTheWay = { kind: 'refused', run: unplanned({ run: runB }) };
          expect(await catalog.runs.plan(plannedRun(runB))).toEqual(inTheWay);
          for (const transition of Object.keys(runTransitions) as RunTransition[])
            expect(await catalog.runs.transition(runB, transition)).toEqual(inTheWay);
        });

        it('are listed with their cluster, and where there is none, with those of no cluster', async () => {
          const { cluster: _, ...ofNone } = unplanned({ run: runB });
          await catalog.runs.recordUnplanned(unplanned());
          await catalog.runs.recordUnplanned(ofNone);
          expect(await catalog.runs.list(SHOP, 9)).toEqual([unplanned()]);
          expect(await catalog.runs.list(undefined, 9)).toEqual([ofNone]);
          expect(await catalog.runs.all(SHOP)).toEqual([]);
        });
      });

      it('are all there when all are asked for', async () => {
        for (const index of [1, 3, 2])
          await catalog.runs.plan(
            plannedRun(runIdSchema.parse(`run-${index}`), { startedAt: later(index).toISOString() }),
          );
        await catalog.runs.plan(plannedRun(runIdSchema.parse('foreign'), { cluster: OTHER }));
        expect((await catalog.runs.all(SHOP)).map(({ run }) => run)).toEqual(['run-3', 'run-2', 'run-1']);
      });

      it('gives back a planned run, and nothing for an unknown one', async () => {
        const record = plannedRun(runA, { grants: [{ kmsKey: 'arn:key', grant: 'g' }] });
        expect(await catalog.runs.plan(record)).toEqual({ kind: 'done', run: record });
        expect(await catalog.runs.get(runA)).toEqual(record);
        expect(await catalog.runs.get(runB)).toBeUndefined();
      });

      it('changes a state only from its legal predecessors, and says what is in the way', async () => {
        const ways: Record<(typeof runStates)[number], readonly RunTransition[]> = {
          planned: [],
          asked: ['ask'],
          succeeded: ['ask', 'succeed'],
          failed: ['fail'],
          aborted: ['abort'],
        };
        let count = 0;
        for (const state of runStates) {
          for (const transition of Object.keys(runTransitions) as RunTransition[]) {
            count += 1;
            const run = runIdSchema.parse(`run-${count}`);
            await catalog.runs.plan(plannedRun(run));
            for (const way of ways[state]) await catalog.runs.transition(run, way);
            const outcome = await catalog.runs.transition(run, transition);
            const { from, to } = runTransitions[transition];
            const isLegal = (from as readonly string[]).includes(state);
            expect([state, transition, outcome.kind]).toEqual([state, transition, isLegal ? 'done' : 'refused']);
            expect((await catalog.runs.get(run))?.state).toBe(isLegal ? to : state);
          }
        }
      });

      it('plans a run again over its own plan, but never over its end', async () => {
        await catalog.runs.plan(plannedRun(runA));
        expect((await catalog.runs.plan(plannedRun(runA, { attempt: 2 }))).kind).toBe('done');
        await catalog.runs.transition(runA, 'fail', { error: 'AgentDied' });
        expect(await catalog.runs.plan(plannedRun(runA, { attempt: 3 }))).toMatchObject({
          kind: 'refused',
          run: { state: 'failed', attempt: 2, error: 'AgentDied' },
        });
      });

      it('never plans a run over that of another execution of the same name', async () => {
        const record = plannedRun(runA);
        await catalog.runs.plan(record);
        const execution = record.execution.replace('back-up', 'restore');
        expect(await catalog.runs.plan(plannedRun(runA, { execution, kind: 'restore' }))).toEqual({
          kind: 'refused',
          run: record,
        });
        expect(await catalog.runs.get(runA)).toEqual(record);
      });

      it('writes changes with the transition, and none where it is refused', async () => {
        await catalog.runs.plan(plannedRun(runA));
        await catalog.runs.transition(runA, 'fail', { error: 'HostSilent', detail: 'no heartbeat', answer: { a: 1 } });
        await catalog.runs.transition(runA, 'abort', { error: 'RunCancelled', detail: 'too late' });
        expect(await catalog.runs.get(runA)).toMatchObject({
          state: 'failed',
          error: 'HostSilent',
          detail: 'no heartbeat',
          answer: { a: 1 },
        });
      });

      it('does not make up a run that is not there', async () => {
        expect(await catalog.runs.transition(runA, 'fail')).toEqual({ kind: 'unknown' });
        await catalog.runs.setGrants(runA, []);
        expect(await catalog.runs.get(runA)).toBeUndefined();
      });

      it('remembers whose a command is', async () => {
        await catalog.runs.plan(plannedRun(runA));
        await catalog.runs.transition(runA, 'ask');
        const command = { command: 'c-1', run: runA, taskToken: 't-1', sentAt: NOW.toISOString() };
        expect(await catalog.runs.linkCommand(command)).toMatchObject({ kind: 'done', run: { command: 'c-1' } });
        expect(await catalog.runs.commandOf('c-1')).toEqual(command);
        expect(await catalog.runs.commandOf('c-2')).toBeUndefined();
      });

      it('links no command to a run that has ended, or is not there', async () => {
        const command = { command: 'c-1', run: runA, taskToken: 't-1', sentAt: NOW.toISOString() };
        expect((await catalog.runs.linkCommand(command)).kind).toBe('unknown');
        await catalog.runs.plan(plannedRun(runA));
        await catalog.runs.transition(runA, 'abort');
        expect((await catalog.runs.linkCommand(command)).kind).toBe('refused');
        expect(await catalog.runs.commandOf('c-1')).toBeUndefined();
      });

      it('keeps the grants it is told, whatever the state', async () => {
        await catalog.runs.plan(plannedRun(runA, { grants: [{ kmsKey: 'arn:key', grant: 'g' }] }));
        await catalog.runs.transition(runA, 'abort');
        await catalog.runs.setGrants(runA, []);
        expect(await catalog.runs.get(runA)).toMatchObject({ state: 'aborted', grants: [] });
      });

      it('lists the newest runs of a cluster first, and no more than asked for', async () => {
        for (const index of [1, 3, 2])
          await catalog.runs.plan(
            plannedRun(runIdSchema.parse(`run-${index}`), { startedAt: later(index).toISOString() }),
          );
        await catalog.runs.plan(plannedRun(runIdSchema.parse('foreign'), { cluster: OTHER }));
        const listed = await catalog.runs.list(SHOP, 2);
        expect(listed.map(({ run }) => run)).toEqual(['run-3', 'run-2']);
      });
    });
  });
};
