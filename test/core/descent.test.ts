import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Parent } from '#core/agent-protocol.ts';
import { appendBackup } from '#core/append-backup.ts';
import { type DescentFacts, judgeDescent } from '#core/descent.ts';
import { lsn } from '#core/lsn.ts';
import { sampleAddress, sampleBackup } from '../doubles/sample-manifest.ts';
import { lsnArbitrary } from './arbitraries.ts';

const parent: Parent = (() => {
  const { manifest, key, sha256 } = sampleBackup(sampleAddress(0));
  const decision = appendBackup(undefined, manifest, key, sha256);
  if (decision.kind !== 'append') throw new Error(decision.kind);
  return decision.head.tip;
})();
if (!parent.canary) throw new Error('the sample has a canary');
const { canary, ...withoutCanary } = parent;

const facts: DescentFacts = { identity: parent.identity, engineSeries: parent.engineSeries, lsn: parent.toLsn, canary };

describe('descent', () => {
  it('is proved by the same server, not behind its parent, with the canary still there', () => {
    expect(judgeDescent(parent, facts)).toEqual({ kind: 'descends' });
  });

  it.each(['uuid', 'dataDirectory', 'flavour', 'series', 'pageSize'] as const)(
    'is refused to a server of another %s',
    (key) => {
      const other = { uuid: 'x', dataDirectory: '/x', flavour: 'mysql', series: '8.0', pageSize: 4096 } as const;
      expect(judgeDescent(parent, { ...facts, identity: { ...facts.identity, [key]: other[key] } })).toMatchObject({
        kind: 'refused',
        code: 'ServerChanged',
        detail: expect.stringContaining(key),
      });
    },
  );

  it('is refused to another series of the engine', () => {
    expect(judgeDescent(parent, { ...facts, engineSeries: '11.4' })).toMatchObject({ code: 'ServerChanged' });
  });

  it('is refused to every server behind its parent, and to none for being ahead', () => {
    fc.assert(
      fc.property(lsnArbitrary, lsnArbitrary, (toLsn, now) => {
        const judged = judgeDescent({ ...parent, toLsn }, { ...facts, lsn: now });
        expect(judged.kind).toBe(now < toLsn ? 'refused' : 'descends');
        if (judged.kind === 'refused') expect(judged.code).toBe('ChainBroken');
      }),
    );
  });

  it.each<[string, DescentFacts['canary']]>([
    ['is gone: the server was rolled back', 'absent'],
    [
      'was written at another time: another history wrote it',
      { ...canary, writtenAt: '2026-11-22T05:12:12Z' } as typeof canary,
    ],
    ['is of another backup', { ...canary, backup: sampleAddress(1).backup } as typeof canary],
  ])('is refused where the canary %s, even far ahead and whatever the GTIDs say', (_, found) => {
    const ahead = lsn(parent.toLsn + 1_000_000n);
    expect(judgeDescent(parent, { ...facts, lsn: ahead, canary: found, gtidContained: true })).toMatchObject({
      kind: 'refused',
      code: 'ChainBroken',
    });
  });

  it('needs the GTID set where the parent could leave no canary', () => {
    expect(judgeDescent(withoutCanary, { ...facts, canary: 'absent', gtidContained: true }).kind).toBe('descends');
    expect(judgeDescent(withoutCanary, { ...facts, canary: 'absent', gtidContained: false }).kind).toBe('refused');
    expect(judgeDescent(withoutCanary, { ...facts, canary: 'absent' }).kind).toBe('refused');
  });
});
