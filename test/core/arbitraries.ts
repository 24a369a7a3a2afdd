import fc from 'fast-check';
import { type Lsn, lsn } from '#core/lsn.ts';

export const MAX_LSN = 2n ** 64n - 1n;

export const lsnArbitrary: fc.Arbitrary<Lsn> = fc
  .oneof(
    fc.bigInt(0n, MAX_LSN),
    // Where numbers stop being exact, and where 64 bits end.
    fc.constantFrom(0n, 1n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, MAX_LSN),
  )
  .map(lsn);

/** LSNs in order, each at least the one before. */
export const risingLsns = (count: number): fc.Arbitrary<readonly Lsn[]> =>
  fc
    .array(lsnArbitrary, { minLength: count, maxLength: count })
    .map((all) => all.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
