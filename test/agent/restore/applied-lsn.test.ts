import { describe, expect, it } from 'vitest';
import { AppliedLsn } from '#agent/restore/applied-lsn.ts';

const highestOf = (lines: readonly string[]): bigint | undefined => {
  const applied = new AppliedLsn();
  for (const line of lines) applied.note(line);
  return applied.highest;
};

describe('how far the redo was applied', () => {
  it('is what mariadb-backup 10.11.19 says', () => {
    expect(
      highestOf([
        '2026-11-22  5:34:50 0 [Note] InnoDB: Starting crash recovery from checkpoint LSN=2292700',
        '2026-11-22  5:34:50 0 [Note] InnoDB: End of log at LSN=2294713',
        '2026-11-22  5:34:50 0 [Note] InnoDB: To recover: 28 pages',
      ]),
    ).toBe(2294713n);
  });

  // The lines of two recorded runs of XtraBackup 2.4.7 on one backup, whose last_lsn is 8777267.
  const twice = (first: string, second: string): readonly string[] => [
    `InnoDB: Doing recovery: scanned up to log sequence number ${first}`,
    'InnoDB: Starting crash recovery.',
    'InnoDB: Starting shutdown...',
    `InnoDB: Doing recovery: scanned up to log sequence number ${second}`,
    'InnoDB: Starting shutdown...',
  ];

  it('is what XtraBackup 2.4.7 says of a whole redo', () => {
    expect(highestOf(twice('8777267 (45%)', '8780309 (0%)'))).toBe(8777267n);
  });

  it('stays below last_lsn where the redo was truncated, though XtraBackup then goes on with new log files', () => {
    expect(highestOf(twice('7106048 (22%)', '9999999 (0%)'))).toBe(7106048n);
  });

  it('is the last of several lines of one pass', () => {
    expect(
      highestOf([
        'InnoDB: Doing recovery: scanned up to log sequence number 5000000 (10%)',
        'InnoDB: Doing recovery: scanned up to log sequence number 7000000 (90%)',
      ]),
    ).toBe(7000000n);
  });

  it('is unknown where the engine says nothing', () => {
    expect(highestOf(['completed OK!'])).toBeUndefined();
  });
});
