import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { appendBackup } from '#core/append-backup.ts';
import type { ChainHead } from '#core/catalog-records.ts';
import { LONGEST_CHAIN } from '#core/cluster-config.ts';
import { fallbackErrors } from '#core/errors.ts';
import { type NextBackupFacts, nextBackup } from '#core/next-backup.ts';
import { HOST, ROLE, sampleAddress, sampleBackup, sampleCluster } from '../doubles/sample-manifest.ts';

const head: ChainHead = (() => {
  const { manifest, key, sha256 } = sampleBackup(sampleAddress(0));
  const decision = appendBackup(undefined, manifest, key, sha256);
  if (decision.kind !== 'append') throw new Error(decision.kind);
  return decision.head;
})();

const DAY = 24 * 60 * 60 * 1000;
const started = Date.parse(head.chainStartedAt);
const decide = (facts: Partial<NextBackupFacts> = {}) =>
  nextBackup({ config: sampleCluster(), head, requested: 'auto', now: new Date(started + 1000), ...facts });

describe('the next backup', () => {
  it('continues the chain on the host it was taken from', () => {
    expect(decide()).toMatchObject({ kind: 'incremental', code: 'chain-continues', host: { instance: HOST }, head });
  });

  it.each<[string, Partial<NextBackupFacts>, string]>([
    ['was asked for', { requested: 'full' }, 'asked-for'],
    ['is the first', { head: undefined }, 'no-chain'],
    ['starts anew because the chain is too old', { now: new Date(started + 7 * DAY) }, 'chain-too-old'],
    [
      'starts anew because the chain is too long',
      { head: { ...head, tip: { ...head.tip, seq: 28 } } },
      'chain-too-long',
    ],
    [
      'starts anew because the increments are too big',
      { head: { ...head, incrementBytes: head.fullBytes + 1 } },
      'increments-too-big',
    ],
    [
      'starts anew because the host has left',
      { config: sampleCluster({ hosts: [{ instance: 'i-00000000000000009', role: ROLE }] }) },
      'host-left',
    ],
    [
      'starts anew because the engine is another',
      { config: sampleCluster({ engine: 'xtrabackup' }) },
      'engine-changed',
    ],
  ])('is a full that %s, with that reason', (_, facts, code) => {
    expect(decide(facts)).toMatchObject({ kind: 'full', code });
  });

  it('is an increment up to the very limit of each policy', () => {
    expect(decide({ now: new Date(started + 7 * DAY - 1) }).kind).toBe('incremental');
    expect(decide({ head: { ...head, tip: { ...head.tip, seq: 27 } } }).kind).toBe('incremental');
    expect(decide({ head: { ...head, incrementBytes: head.fullBytes } }).kind).toBe('incremental');
  });

  it('is a full on the same host after a refusal, and names the refusal', () => {
    const hosts = [
      { instance: 'i-00000000000000009', role: ROLE },
      { instance: HOST, role: ROLE },
    ];
    for (const code of fallbackErrors) {
      const decision = decide({ config: sampleCluster({ hosts }), refusal: { code, detail: 'because' } });
      expect(decision).toMatchObject({ kind: 'full', host: { instance: HOST }, reason: `${code}: because` });
    }
    expect(fallbackErrors).toHaveLength(3);
  });

  it('never repeats an increment in a run that was refused one, whatever the facts', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('auto', 'full', 'incremental'),
        fc.boolean(),
        fc.nat({ max: 400 * DAY }),
        fc.constantFrom(...fallbackErrors),
        (requested, hasHead, later, code) => {
          const facts = { requested, head: hasHead ? head : undefined, now: new Date(started + later) } as const;
          expect(decide({ ...facts, refusal: { code, detail: '' } }).kind).toBe('full');
        },
      ),
    );
  });

  it('is an increment beyond the policy where one was asked for by name', () => {
    expect(decide({ requested: 'incremental', now: new Date(started + 30 * DAY) }).kind).toBe('incremental');
  });

  it('takes a full rather than none where an increment was asked for', () => {
    expect(decide({ requested: 'incremental', head: undefined }).kind).toBe('full');
    expect(decide({ requested: 'incremental' }).kind).toBe('incremental');
  });

  it('keeps the words of who asked beside its own reason', () => {
    expect(decide({ note: 'before the migration' }).reason).toMatch(/ \(before the migration\)$/);
  });

  it('decides the same of the same facts, and only increments a head of one of its hosts', () => {
    fc.assert(
      fc.property(
        fc.record({
          requested: fc.constantFrom('auto' as const, 'full' as const, 'incremental' as const),
          seq: fc.nat({ max: 600 }),
          incrementBytes: fc.nat(),
          later: fc.integer({ min: -DAY, max: 400 * DAY }),
          fullEveryDays: fc.integer({ min: 1, max: 366 }),
          maxIncrements: fc.integer({ min: 0, max: 500 }),
        }),
        ({ requested, seq, incrementBytes, later, fullEveryDays, maxIncrements }) => {
          const facts = {
            requested,
            config: sampleCluster({ policy: { fullEveryDays, maxIncrements } }),
            head: { ...head, incrementBytes, tip: { ...head.tip, seq } },
            now: new Date(started + later),
          };
          const decision = decide(facts);
          expect(decide(facts)).toEqual(decision);
          const mayContinue =
            requested === 'incremental'
              ? seq < LONGEST_CHAIN
              : requested === 'auto' &&
                seq < maxIncrements &&
                incrementBytes <= head.fullBytes &&
                later < fullEveryDays * DAY;
          expect(decision.kind).toBe(mayContinue ? 'incremental' : 'full');
        },
      ),
    );
  });
});
