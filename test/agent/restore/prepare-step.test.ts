import { describe, expect, it } from 'vitest';
import { preparedFault } from '#agent/restore/prepare-step.ts';
import type { Checkpoints } from '#core/checkpoints.ts';
import { lsn } from '#core/lsn.ts';

/** After increment 1 of a real run: mariadb-backup 10.11.19. */
const base: Checkpoints = { type: 'log-applied', fromLsn: lsn(0n), toLsn: lsn(2292755n), lastLsn: lsn(2294713n) };
const step = { toLsn: base.toLsn, lastLsn: base.lastLsn };

describe('a base after a step was applied', () => {
  it('has nothing wrong with it when it is what the plan expects', () => {
    expect(preparedFault(base, 'log-applied', step, base.lastLsn)).toBeUndefined();
  });

  it('may keep an older last_lsn where its to_lsn did not move, as both engines leave it', () => {
    const unmoved = { ...base, toLsn: lsn(44404n), lastLsn: lsn(1475098n) };
    expect(
      preparedFault(unmoved, 'log-applied', { toLsn: lsn(44404n), lastLsn: lsn(2292903n) }, 2292903n),
    ).toBeUndefined();
  });

  it.each<[string, Checkpoints, bigint | undefined]>([
    ['is not prepared', { ...base, type: 'full-backuped' }, base.lastLsn],
    ['is prepared further than asked for', { ...base, type: 'full-prepared' }, base.lastLsn],
    ['is an increment', { ...base, fromLsn: lsn(1n) }, base.lastLsn],
    ['stands before the step', { ...base, toLsn: lsn(44404n) }, base.lastLsn],
    ['stands behind the step', { ...base, toLsn: lsn(9999999n), lastLsn: lsn(9999999n) }, base.lastLsn],
    ['lost the end of its redo', base, 2293000n],
  ])('is refused when it %s', (_what, checkpoints, applied) => {
    expect(preparedFault(checkpoints, 'log-applied', step, applied)).toEqual(expect.any(String));
  });
});
