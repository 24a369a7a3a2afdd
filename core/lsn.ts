import { z } from 'zod';

/**
 * A log sequence number: unsigned, 64 bits, in bytes of redo ever written. JSON has no such number, so on the wire and in
 * the catalog it is a decimal string without leading zeros.
 */
export type Lsn = bigint & z.$brand<'Lsn'>;

const MAX_LSN = 2n ** 64n - 1n;
const DECIMAL = /^(0|[1-9]\d{0,19})$/;

/** `undefined` where `text` is not the decimal form of an LSN: empty, signed, padded or beyond 64 bits. */
export const parseLsn = (text: string): Lsn | undefined => {
  if (!DECIMAL.test(text)) return undefined;
  const value = BigInt(text);
  return value <= MAX_LSN ? (value as Lsn) : undefined;
};

/** The LSN `value`, for constants and tests. Throws `RangeError` outside 64 bits. */
export const lsn = (value: bigint): Lsn => {
  if (value < 0n || value > MAX_LSN) throw new RangeError(`${value} is not a 64-bit LSN`);
  return value as Lsn;
};

/** Decimal string on the wire, `bigint` in the program. */
export const lsnSchema = z.codec(
  z.string().refine((text) => parseLsn(text) !== undefined, 'an LSN is a decimal number of at most 64 bits'),
  z.custom<Lsn>((value) => typeof value === 'bigint'),
  { decode: (text) => BigInt(text) as Lsn, encode: (value) => value.toString() },
);
