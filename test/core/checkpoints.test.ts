import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkpointsFault, parseCheckpoints } from '#core/checkpoints.ts';
import { type Lsn, lsn } from '#core/lsn.ts';
import { lsnArbitrary, risingLsns } from './arbitraries.ts';

const text = (facts: { type: string; from: string; to: string; last: string }) =>
  `backup_type = ${facts.type}\nfrom_lsn = ${facts.from}\nto_lsn = ${facts.to}\nlast_lsn = ${facts.last}\n`;

describe('reading checkpoints', () => {
  it('takes what xtrabackup 2.4.7 wrote', () => {
    expect(
      parseCheckpoints(
        'backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = 2630283\nlast_lsn = 2630292\ncompact = 0\nrecover_binlog_info = 0\n',
      ),
    ).toEqual({ type: 'full-backuped', fromLsn: 0n, toLsn: 2630283n, lastLsn: 2630292n });
  });

  it('reads back any LSNs, in any order of lines and with any unknown keys among them', () => {
    fc.assert(
      fc.property(
        lsnArbitrary,
        lsnArbitrary,
        lsnArbitrary,
        fc.array(fc.constantFrom('compact = 0', 'flushed_lsn = 7', '', 'redo_memory = 1', '# note')),
        fc.infiniteStream(fc.nat()),
        (from, to, last, noise, order) => {
          const lines = [
            ...text({ type: 'incremental', from: `${from}`, to: `${to}`, last: `${last}` })
              .trim()
              .split('\n'),
            ...noise,
          ]
            .map((line) => ({ line, rank: order.next().value }))
            .sort((a, b) => a.rank - b.rank)
            .map(({ line }) => line);
          expect(parseCheckpoints(lines.join('\n'))).toEqual({
            type: 'incremental',
            fromLsn: from,
            toLsn: to,
            lastLsn: last,
          });
        },
      ),
    );
  });

  it.each(['backup_type', 'from_lsn', 'to_lsn', 'last_lsn'])('needs %s once and well formed', (key) => {
    const whole = text({ type: 'incremental', from: '1', to: '2', last: '3' });
    const without = whole
      .split('\n')
      .filter((line) => !line.startsWith(key))
      .join('\n');
    expect(parseCheckpoints(without)).toEqual({ problem: `${key} is missing` });
    expect(parseCheckpoints(`${whole}${key} = 4\n`)).toEqual({ problem: `${key} stands there twice` });
    expect(parseCheckpoints(`${without}\n${key} = x\n`)).toEqual({ problem: `${key} is x` });
    expect(parseCheckpoints(`${without}\n${key} =\n`)).toMatchObject({ problem: expect.stringContaining(key) });
  });

  it('never throws and never takes a cut file for a whole one', () => {
    const whole = text({ type: 'full-backuped', from: '0', to: '2630283', last: '2630292' });
    for (let length = 0; length < whole.length - 1; length += 1) {
      const cut = parseCheckpoints(whole.slice(0, length));
      if ('problem' in cut) continue;
      // Only the digits of the last number can be cut without a trace: it is then smaller than to_lsn.
      expect(checkpointsFault(cut, lsn(0n))).toBeDefined();
    }
  });
});

describe('what must hold of checkpoints', () => {
  const rising = risingLsns(3).filter(([first]) => first !== 0n);

  it('finds no fault with LSNs in order that start where they were asked to', () => {
    fc.assert(
      fc.property(rising, ([fromLsn, toLsn, lastLsn]) => {
        const checkpoints = { type: 'incremental', fromLsn, toLsn, lastLsn } as { type: 'incremental' } & Record<
          'fromLsn' | 'toLsn' | 'lastLsn',
          Lsn
        >;
        expect(checkpointsFault(checkpoints, checkpoints.fromLsn)).toBeUndefined();
      }),
    );
  });

  it('finds a fault with every other order, start or type', () => {
    fc.assert(
      fc.property(lsnArbitrary, lsnArbitrary, lsnArbitrary, lsnArbitrary, (fromLsn, toLsn, lastLsn, asked) => {
        const isRight = fromLsn === asked && fromLsn <= toLsn && toLsn <= lastLsn && asked !== 0n;
        expect(checkpointsFault({ type: 'incremental', fromLsn, toLsn, lastLsn }, asked) === undefined).toBe(isRight);
        expect(checkpointsFault({ type: 'full-prepared', fromLsn, toLsn, lastLsn }, asked)).toBeDefined();
      }),
    );
  });

  it('knows a full from an increment', () => {
    const lsns = { fromLsn: lsn(0n), toLsn: lsn(5n), lastLsn: lsn(6n) };
    expect(checkpointsFault({ type: 'full-backuped', ...lsns }, lsn(0n))).toBeUndefined();
    expect(checkpointsFault({ type: 'incremental', ...lsns }, lsn(0n))).toContain('not full-backuped');
  });
});
