import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backupIdSchema, chainIdSchema, newBackupId, newChainId } from '#core/ids.ts';

const timeArbitrary = fc.date({
  min: new Date('2020-01-01T00:00:00Z'),
  max: new Date('2199-12-31T23:59:58Z'),
  noInvalidDate: true,
});
const suffixArbitrary = fc.stringMatching(/^[0-9a-f]{6}$/);

describe('ids', () => {
  it('of chains and backups are well formed whenever they are made', () => {
    fc.assert(
      fc.property(timeArbitrary, suffixArbitrary, fc.nat({ max: 999_999 }), (at, suffix, seq) => {
        const chain = newChainId(at, suffix);
        expect(chainIdSchema.parse(chain)).toBe(chain);
        const backup = newBackupId(at, chain, seq);
        expect(backupIdSchema.parse(backup)).toBe(backup);
        expect(backup.endsWith(suffix)).toBe(true);
      }),
    );
  });

  it('of chains sort by the time they were made', () => {
    fc.assert(
      fc.property(timeArbitrary, timeArbitrary, suffixArbitrary, suffixArbitrary, (a, b, x, y) => {
        const [first, second] = [newChainId(a, x), newChainId(b, y)];
        const seconds = (at: Date) => Math.floor(at.getTime() / 1000);
        if (seconds(a) < seconds(b)) expect(first < second).toBe(true);
      }),
    );
  });

  it('of a new chain are always later than the newest, whatever the clock says', () => {
    fc.assert(
      fc.property(timeArbitrary, timeArbitrary, suffixArbitrary, suffixArbitrary, (a, b, x, y) => {
        const newest = newChainId(a, x);
        const next = newChainId(b, y, newest);
        expect(next > newest).toBe(true);
        if (b.getTime() - a.getTime() > 1000) expect(next).toBe(newChainId(b, y));
      }),
    );
  });
});
