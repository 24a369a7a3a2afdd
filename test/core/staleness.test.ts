import { describe, expect, it } from 'vitest';
import { policySchema } from '#core/cluster-config.ts';
import { alertAfterHours, isStale } from '#core/staleness.ts';

describe('a cluster without a backup', () => {
  it.each([
    [{ schedule: 'rate(6 hours)' }, 13],
    [{ schedule: 'rate(30 minutes)' }, 2],
    [{ schedule: 'rate(1 day)' }, 49],
    [{ schedule: 'cron(0 3 * * ? *)' }, 49],
    [{ schedule: 'cron(0 3 ? * * *)' }, 49],
    // Not every day: the days after which a full is due are what the policy says.
    [{ schedule: 'cron(0 3 ? * SUN *)' }, 337],
    [{ schedule: 'cron(0 3 1 * ? *)', fullEveryDays: 31 }, 1489],
    [{ schedule: 'at(2026-11-22T05:12:10)' }, 337],
    [{}, 337],
    [{ schedule: 'rate(6 hours)', alertAfterHours: 8 }, 8],
  ])('by the policy %o is told of after %d hours', (policy, hours) => {
    expect(alertAfterHours(policySchema.parse(policy))).toBe(hours);
  });

  it('is stale once that has passed, and not before', () => {
    const policy = policySchema.parse({ alertAfterHours: 8 });
    const at = (hour: number, second = 0) => new Date(Date.UTC(2026, 10, 22, hour, 0, second));
    expect(isStale(policy, at(0), at(8))).toBe(false);
    expect(isStale(policy, at(0), at(8, 1))).toBe(true);
    expect(isStale(policy, at(9), at(8))).toBe(false);
  });
});
