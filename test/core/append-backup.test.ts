import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { appendBackup } from '#core/append-backup.ts';
import type { ChainHead } from '#core/catalog-records.ts';
import { instanceIdSchema } from '#core/ids.ts';
import { lsn } from '#core/lsn.ts';
import type { Manifest } from '#core/manifest.ts';
import { manifestObjects } from '#core/manifest.ts';
import type { BackupAddress } from '#core/object-keys.ts';
import { planRestore } from '#core/restore-plan.ts';
import { type SampleBackup, sampleAddress, sampleBackup } from '../doubles/sample-manifest.ts';

const append = (head: ChainHead | undefined, { manifest, key, sha256 }: SampleBackup) =>
  appendBackup(head, manifest, key, sha256);

const appended = (head: ChainHead | undefined, backup: SampleBackup) => {
  const decision = append(head, backup);
  if (decision.kind !== 'append') throw new Error(JSON.stringify(decision));
  return decision;
};

/** The head of a chain of `length` backups. */
const headOf = (length: number, day = 22): ChainHead => {
  let head = appended(undefined, sampleBackup(sampleAddress(0, day))).head;
  for (let seq = 1; seq < length; seq += 1)
    head = appended(head, sampleBackup(sampleAddress(seq, day), { tip: head.tip })).head;
  return head;
};

const increment = (
  head: ChainHead,
  facts: Partial<Manifest> = {},
  at: BackupAddress = sampleAddress(head.tip.seq + 1),
) => sampleBackup(at, { tip: head.tip, ...facts });

describe('appending a backup', () => {
  it('opens a chain with a full, and carries its keys into the catalog', () => {
    const full = sampleBackup(sampleAddress(0));
    const { head, opens, record } = appended(undefined, full);
    expect(head).toMatchObject({
      chain: full.manifest.chain,
      incrementBytes: 0,
      tip: { seq: 0, manifestSha256: full.sha256 },
    });
    expect(opens).toMatchObject({ chain: full.manifest.chain, keys: full.manifest.keys, host: full.manifest.host });
    expect(record.storedBytes).toBe(manifestObjects(full.manifest).reduce((sum, { bytes }) => sum + bytes, 0));
  });

  it('lets a full follow any head, as long as its chain is newer', () => {
    const head = headOf(3, 22);
    expect(append(head, sampleBackup(sampleAddress(0, 23))).kind).toBe('append');
    expect(append(headOf(1, 23), sampleBackup(sampleAddress(0, 22)))).toMatchObject({
      kind: 'refuse',
      reason: expect.stringContaining('not newer'),
    });
  });

  it('measures what the policy asks about', () => {
    const head = headOf(3);
    const { record } = appended(head, increment(head));
    const next = appended(head, increment(head)).head;
    expect(next.incrementBytes).toBe(head.incrementBytes + record.storedBytes);
    expect(next.fullBytes).toBe(head.fullBytes);
    expect(next.chainStartedAt).toBe(head.chainStartedAt);
  });

  it('says so of the tip: recording is idempotent', () => {
    const first = headOf(1);
    const backup = increment(first);
    const { head } = appended(first, backup);
    expect(append(head, backup).kind).toBe('recorded');
    expect(append(head, { ...backup, sha256: 'f'.repeat(64) }).kind).toBe('refuse');
  });

  const head = headOf(2);
  const { tip } = head;
  const up = (value: bigint) => lsn(value + 1n);
  const checkpoints = {
    type: 'incremental',
    fromLsn: tip.toLsn,
    toLsn: up(tip.toLsn),
    lastLsn: up(tip.toLsn),
  } as const;
  const server = increment(head).manifest.server;

  it.each<[string, Partial<Manifest>]>([
    ['starts behind its parent', { checkpoints: { ...checkpoints, fromLsn: lsn(tip.toLsn - 1n) } }],
    ['starts after its parent: there is a gap', { checkpoints: { ...checkpoints, fromLsn: up(tip.toLsn) } }],
    ['ends before it starts', { checkpoints: { ...checkpoints, toLsn: lsn(tip.toLsn - 1n) } }],
    ['holds less redo than it says', { checkpoints: { ...checkpoints, lastLsn: tip.toLsn } }],
    ['is of another type', { checkpoints: { ...checkpoints, type: 'full-backuped' } }],
    ['has another parent', { parent: { backup: sampleAddress(0).backup, manifestSha256: tip.manifestSha256 } }],
    ['has a parent of another content', { parent: { backup: tip.backup, manifestSha256: 'f'.repeat(64) } }],
    ['has no parent', { parent: undefined } as object],
    ['is of another server', { server: { ...server, identity: { ...server.identity, uuid: 'another' } } }],
    ['is of an upgraded server', { server: { ...server, identity: { ...server.identity, series: '11.4' } } }],
    ['was taken on another host', { host: instanceIdSchema.parse('i-00000000000000009') }],
    [
      'was taken with another series of the engine',
      { engine: { name: 'mariadb-backup', version: '11.4.2', series: '11.4' } },
    ],
    ['was taken with another engine', { engine: { name: 'xtrabackup', version: '8.0.35', series: '10.11' } }],
  ])('refuses an increment that %s', (_, facts) => {
    expect(append(head, increment(head, facts)).kind).toBe('refuse');
  });

  it('refuses an increment at any place but the next, and of any chain but the open one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30 }), fc.constantFrom(22, 23), (seq, day) => {
        const decision = append(head, sampleBackup(sampleAddress(seq, day), { tip, checkpoints }));
        const isNext = seq === tip.seq + 1 && day === 22;
        expect(decision.kind).toBe(isNext ? 'append' : seq === tip.seq && day === 22 ? 'refuse' : 'refuse');
      }),
    );
    expect(append(undefined, increment(head)).kind).toBe('refuse');
  });

  it.each<[string, Partial<Manifest>]>([
    ['a from_lsn', { checkpoints: { ...checkpoints } }],
    ['a parent', { parent: { backup: tip.backup, manifestSha256: tip.manifestSha256 } }],
    [
      'less redo than it says',
      { checkpoints: { type: 'full-backuped', fromLsn: lsn(0n), toLsn: lsn(5n), lastLsn: lsn(4n) } },
    ],
  ])('refuses a full with %s', (_, facts) => {
    expect(append(undefined, sampleBackup(sampleAddress(0), facts)).kind).toBe('refuse');
  });

  it('only ever makes lines that can be restored, from any mixture of backups', () => {
    const candidate = fc.record({ seq: fc.integer({ min: 0, max: 3 }), day: fc.integer({ min: 20, max: 23 }) });
    fc.assert(
      fc.property(fc.array(candidate, { maxLength: 30 }), (candidates) => {
        let current: ChainHead | undefined;
        const records = [];
        for (const { seq, day } of candidates) {
          const backup = sampleBackup(sampleAddress(seq, day), current && seq > 0 ? { tip: current.tip } : {});
          const decision = append(current, backup);
          if (decision.kind !== 'append') continue;
          current = decision.head;
          records.push(decision.record);
        }
        for (const { backup } of records) expect(planRestore(records, { kind: 'backup', backup }).kind).toBe('restore');
        if (current) {
          const latest = planRestore(records, { kind: 'latest' });
          expect(latest.kind === 'restore' && latest.steps.at(-1)?.backup).toBe(current.tip.backup);
        }
      }),
    );
  });
});
