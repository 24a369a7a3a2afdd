import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BackupRecord, backupRecordOf } from '#core/catalog-records.ts';
import { lsn } from '#core/lsn.ts';
import { planRestore, restoreDirectory } from '#core/restore-plan.ts';
import { FIRST_LSN, SHOP, sampleAddress, sampleBackup, sampleCluster, sampleKey } from '../doubles/sample-manifest.ts';

/** Two chains of three; the backup of `seq` on day `day` ends at its planned time plus half a minute. */
const backupAt = (day: number, seq: number): BackupRecord => {
  const at = sampleAddress(seq, day);
  const { manifest, key, sha256 } = sampleBackup(at);
  const record = backupRecordOf(manifest, key, sha256);
  const toLsn = lsn(FIRST_LSN + BigInt(seq));
  return {
    ...record,
    fromLsn: seq === 0 ? lsn(0n) : lsn(FIRST_LSN + BigInt(seq - 1)),
    toLsn,
    lastLsn: toLsn,
    endedAt: `2026-11-${day}T05:${String(12 + seq).padStart(2, '0')}:40Z`,
  };
};
const all = [22, 23].flatMap((day) => [0, 1, 2].map((seq) => backupAt(day, seq)));
const idOf = (day: number, seq: number): string => sampleAddress(seq, day).backup;

const chosen = (backups: readonly BackupRecord[], to: Parameters<typeof planRestore>[1]) => {
  const plan = planRestore(backups, to);
  return plan.kind === 'restore' ? plan.steps.map(({ backup }) => backup) : plan.code;
};

describe('planning what to restore', () => {
  it('applies the newest chain up to its end, whatever the order in which its backups are listed', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(all, { minLength: all.length }), (shuffled) => {
        expect(chosen(shuffled, { kind: 'latest' })).toEqual([idOf(23, 0), idOf(23, 1), idOf(23, 2)]);
      }),
    );
  });

  describe('of a chain whose keys were shredded', () => {
    const shredding = { at: '2026-11-24T00:00:00Z', by: 'ada@laptop' };
    const chain = (day: number, isShredded: boolean) => {
      const at = sampleAddress(0, day);
      return { chain: at.chain, keys: isShredded ? { shredded: shredding } : { data: sampleKey(at) } };
    };
    const known = [chain(22, false), chain(23, true)];

    it.each([
      ['the latest', { kind: 'latest' }],
      ['one by its id', { kind: 'backup', backup: idOf(23, 1) }],
      ['one by its time', { kind: 'time', time: '2026-11-23T05:13:59Z' }],
    ] as const)('is refused by name, %s: an older one is named, and never taken instead', (_, to) => {
      expect(planRestore(all, to, known)).toMatchObject({
        kind: 'refuse',
        code: 'KeyShredded',
        detail: expect.stringMatching(new RegExp(`2026-11-24T00:00:00Z by ada@laptop; .* is ${idOf(22, 2)}$`)),
      });
    });

    it('says so where nothing else can be restored', () => {
      const plan = planRestore(all, { kind: 'latest' }, [chain(22, true), chain(23, true)]);
      expect(plan).toMatchObject({
        code: 'KeyShredded',
        detail: expect.stringMatching(/no other backup can be restored$/),
      });
    });

    it('leaves the other chains as they are', () => {
      expect(planRestore(all, { kind: 'backup', backup: idOf(22, 2) }, known).kind).toBe('restore');
    });
  });

  it('applies the full and every increment up to the backup asked for', () => {
    expect(chosen(all, { kind: 'backup', backup: idOf(22, 1) })).toEqual([idOf(22, 0), idOf(22, 1)]);
    expect(chosen(all, { kind: 'backup', backup: idOf(22, 0) })).toEqual([idOf(22, 0)]);
  });

  it.each([
    ['just when a backup ended', '2026-11-22T05:13:40Z', [idOf(22, 0), idOf(22, 1)]],
    ['just before it ended', '2026-11-22T05:13:39Z', [idOf(22, 0)]],
    ['between two chains', '2026-11-23T00:00:00Z', [idOf(22, 0), idOf(22, 1), idOf(22, 2)]],
    ['in another zone', '2026-11-22T06:13:40+01:00', [idOf(22, 0), idOf(22, 1)]],
    ['before everything', '2026-11-21T00:00:00Z', 'NoRestorableBackup'],
    ['that is none', 'yesterday', 'InvalidInput'],
  ])('takes the newest that had ended at a time %s', (_, time, expected) => {
    expect(chosen(all, { kind: 'time', time })).toEqual(expected);
  });

  it('refuses by name what is not there', () => {
    expect(chosen([], { kind: 'latest' })).toBe('NoRestorableBackup');
    expect(chosen(all, { kind: 'backup', backup: 'nope' })).toBe('UnknownBackup');
  });

  it('never plans over a gap: what it plans is a full and then every place, each from where the one before ends', () => {
    fc.assert(
      fc.property(
        fc.shuffledSubarray(all),
        fc.constantFrom(...all),
        fc.option(fc.constantFrom(...all)),
        (some, target, torn) => {
          const backups = some.map((record) =>
            record === torn ? { ...record, fromLsn: lsn(record.fromLsn + 1n) } : record,
          );
          const plan = planRestore(backups, { kind: 'backup', backup: target.backup });
          const needed = all.filter(({ chain, seq }) => chain === target.chain && seq <= target.seq);
          const isWhole = needed.every((record) => some.includes(record) && (record !== torn || record.seq === 0));
          expect(plan.kind).toBe(isWhole ? 'restore' : 'refuse');
          if (plan.kind === 'restore') expect(plan.steps.map(({ seq }) => seq)).toEqual(needed.map(({ seq }) => seq));
        },
      ),
    );
  });
});

describe('where a restore may write', () => {
  const config = sampleCluster();
  const place = (target: Parameters<typeof restoreDirectory>[2]) => restoreDirectory(config, SHOP, target);

  it.each(['/var/lib/mysql', '/var/lib/mysql/sub', '/var/lib', '/var', '/'])(
    'is never %s, which overlaps the data directory',
    (directory) => {
      expect(place({ mode: 'prepare-only', directory })).toMatchObject({ code: 'InvalidInput' });
    },
  );

  it.each(['/var/lib/mysql2', '/var/lib/mysq', '/srv/restored'])('may be %s', (directory) => {
    expect(place({ mode: 'prepare-only', directory })).toEqual({ directory });
  });

  it.each(['/var/lib/mysql/', '/var/lib//mysql', '/var/lib/./mysql', '/var/lib/mysql/.'])(
    'is not the data directory in the disguise of %s',
    (directory) => {
      expect(place({ mode: 'prepare-only', directory })).toMatchObject({ code: 'InvalidInput' });
    },
  );

  it('is the data directory only with the name of the cluster typed', () => {
    expect(place({ mode: 'replace', confirm: 'shop' })).toEqual({ directory: '/var/lib/mysql' });
    for (const confirm of [undefined, '', 'Shop', 'shop ', 'shop2'])
      expect(place({ mode: 'replace', confirm })).toMatchObject({ code: 'ConfirmationMissing' });
    expect(place({ mode: 'replace', confirm: 'shop', directory: '/srv/x' })).toMatchObject({ code: 'InvalidInput' });
  });
});
