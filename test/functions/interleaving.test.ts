import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BackupRecord, ChainHead } from '#core/catalog-records.ts';
import { RedoubtError } from '#core/errors.ts';
import { manifestObjects, manifestSchema } from '#core/manifest.ts';
import { isManifestKey } from '#core/object-keys.ts';
import { planRestore } from '#core/restore-plan.ts';
import { tombstoneTime } from '#core/tombstone.ts';
import { type FakeClock, fakeClock } from '../doubles/fake-clock.ts';
import { type Catalog, inMemoryCatalog } from '../doubles/in-memory-catalog.ts';
import { SHOP, sampleObjects } from '../doubles/sample-manifest.ts';
import {
  addressOf,
  type ControlPlaneUnderTest,
  controlPlaneUnderTest,
  executionOf,
} from './control-plane-under-test.ts';

/** Lets the scheduler decide when each call of each port happens. */
const scheduled = <Ports extends object>(scheduler: fc.Scheduler, ports: Ports): Ports =>
  new Proxy(ports, {
    get: (target, name) => {
      const member = Reflect.get(target, name);
      if (typeof member === 'object' && member !== null && !(member instanceof Map) && !(member instanceof Set))
        return scheduled(scheduler, member);
      if (typeof member !== 'function') return member;
      return async (...args: unknown[]) => {
        await scheduler.schedule(Promise.resolve(), String(name));
        return member.apply(target, args);
      };
    },
  });

interface Story {
  /** What befalls the run between asking its host and recording. */
  readonly fate: 'finishes' | 'agent fails' | 'recorder dies' | 'is stopped' | 'is stopped, agent goes on';
  readonly kind: 'auto' | 'full';
}

const storyArbitrary: fc.Arbitrary<Story> = fc.record({
  fate: fc.constantFrom('finishes', 'agent fails', 'recorder dies', 'is stopped', 'is stopped, agent goes on'),
  kind: fc.constantFrom('auto', 'full'),
});

/** No two looks at it see the same second: two attempts at one place have two names. */
const tickingClock = (): FakeClock => {
  const clock = fakeClock();
  return {
    ...clock,
    now: () => {
      clock.advance(1000);
      return clock.now();
    },
  };
};

const TRIES = 8;

type Instruction = Awaited<ReturnType<ControlPlaneUnderTest['plan']>>['decoded'];

/** Lets other things happen. */
type Wait = (name: string) => Promise<void>;

/** An agent that does not know yet that nobody waits for it: every upload, and its commit, may come at any time. */
const goOn = async (
  { bucket, commitOver }: ControlPlaneUnderTest,
  wait: Wait,
  instruction: Instruction,
): Promise<void> => {
  const sent = new Map<string, string | undefined>();
  for (const [key, text] of sampleObjects(addressOf(instruction))) {
    await wait('upload');
    bucket.objects.set(key, text);
    sent.set(key, bucket.versionOf(key));
  }
  await wait('commit late');
  try {
    commitOver(instruction, sent);
  } catch (error) {
    expect(error).toMatchObject({ code: 'RunCancelled' });
  }
};

/** One execution, as the state machine and the agent would play it; another one later where the cluster is held. */
const play = async (
  world: ControlPlaneUnderTest,
  wait: Wait,
  run: string,
  story: Story,
  tries = TRIES,
): Promise<void> => {
  const { fate, kind } = story;
  const stop = () => world.executions.ended.add(executionOf(run));
  try {
    const planned = await world.plan(run, { kind });
    await world.ask(run, planned);
    if (fate === 'agent fails') throw new RedoubtError('EngineFailed', 'it said no');
    if (fate === 'is stopped') {
      world.upload(planned.decoded);
      stop();
      return;
    }
    if (fate === 'is stopped, agent goes on') {
      const agent = goOn(world, wait, planned.decoded);
      await wait('stop');
      stop();
      await Promise.all([agent, world.settle(run, { outcome: 'aborted', error: 'RunCancelled' })]);
      return;
    }
    const backup = world.commit(planned.decoded);
    if (fate === 'recorder dies') {
      stop();
      return;
    }
    await world.record(run, backup);
    await world.settle(run);
    stop();
  } catch (error) {
    if (!(error instanceof RedoubtError)) throw error;
    expect(error.code).not.toBe('Unexpected');
    await world.settle(run, { outcome: 'failed', error: error.code, cause: error.detail });
    stop();
    if (error.code === 'BackupInProgress' && tries > 1) await play(world, wait, `${run}-again`, story, tries - 1);
  }
};

interface Observed {
  readonly heads: ChainHead[];
  readonly tokens: number[];
}

/** The catalog, with every head and token that was ever written. */
const observed = (catalog: Catalog, seen: Observed): Catalog => ({
  ...catalog,
  chains: {
    ...catalog.chains,
    append: async (append) => {
      const outcome = await catalog.chains.append(append);
      if (outcome === 'appended') {
        seen.heads.push(append.head);
        seen.tokens.push(append.lease.token);
      }
      return outcome;
    },
  },
});

const expectOneLine = (backups: readonly BackupRecord[], seen: Observed): void => {
  // Each write of the head follows the one before: a line, not a tree.
  for (const [index, head] of seen.heads.entries()) {
    const before = seen.heads[index - 1];
    const opens = head.tip.seq === 0 && (!before || head.chain > before.chain);
    const continues = before !== undefined && head.chain === before.chain && head.tip.seq === before.tip.seq + 1;
    expect(opens || continues).toBe(true);
  }
  expect(seen.tokens).toEqual(seen.tokens.toSorted((a, b) => a - b));
  expect(backups).toHaveLength(seen.heads.length);
  for (const record of backups) {
    const parent = backups.find(({ chain, seq }) => chain === record.chain && seq === record.seq - 1);
    expect(record.fromLsn).toBe(parent ? parent.toLsn : 0n);
    expect(planRestore(backups, { kind: 'backup', backup: record.backup }).kind).toBe('restore');
  }
};

/**
 * Every place has a whole backup or none, recorded or not: what a manifest names is what is there now, for a version behind a delete
 * marker expires later; and beside a tombstone nothing was ever committed.
 */
const expectWholeOrNone = ({ bucket }: ControlPlaneUnderTest, backups: readonly BackupRecord[]): void => {
  const manifests = [...bucket.objects].filter(([key]) => isManifestKey(key));
  const committed = manifests.filter(([, text]) => !tombstoneTime(text));
  expect(committed.map(([key]) => key)).toEqual(expect.arrayContaining(backups.map(({ manifestKey }) => manifestKey)));
  for (const [, text] of committed) {
    const manifest = manifestSchema.parse(JSON.parse(text));
    for (const { key, version } of manifestObjects(manifest)) {
      expect(version).toBeDefined();
      expect({ key, version: bucket.versionOf(key) }).toEqual({ key, version });
    }
  }
};

describe('runs of one cluster, however they interleave', () => {
  it('have one writer, and leave one unbroken line of backups whose objects are all there', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(storyArbitrary, { minLength: 2, maxLength: 4 }),
        async (scheduler, stories) => {
          const seen: Observed = { heads: [], tokens: [] };
          const catalog = observed(inMemoryCatalog(), seen);
          const world = await controlPlaneUnderTest({
            catalog,
            clock: tickingClock(),
            through: (ports) => scheduled(scheduler, ports),
          });
          const wait: Wait = (name) => scheduler.schedule(Promise.resolve(), name);
          const runs = stories.map((story, index) => play(world, wait, `run-${index + 1}`, story));
          await scheduler.waitFor(Promise.all(runs));

          // One more run finds whatever the others left, and ends with nothing held and nothing lent.
          await scheduler.waitFor(play(world, wait, 'run-last', { fate: 'finishes', kind: 'auto' }));
          const { backups } = await catalog.chains.all(SHOP);
          expectOneLine(backups, seen);
          expectWholeOrNone(world, backups);
          expect(backups.at(-1)?.run).toBe('run-last');
          expect((await catalog.leases.get(SHOP))?.held).toBe(false);
        },
      ),
      { numRuns: 300 },
    );
  });
});
