import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { lsn, lsnSchema, parseLsn } from '#core/lsn.ts';
import { lsnArbitrary, MAX_LSN } from './arbitraries.ts';

describe('an LSN', () => {
  it('survives JSON exactly, whatever its size', () => {
    fc.assert(
      fc.property(lsnArbitrary, (value) => {
        const wire = JSON.parse(JSON.stringify(z.encode(lsnSchema, value)));
        expect(z.decode(lsnSchema, wire)).toBe(value);
      }),
    );
  });

  it('has one decimal form', () => {
    fc.assert(
      fc.property(lsnArbitrary, (value) => {
        expect(parseLsn(value.toString())).toBe(value);
        expect(parseLsn(`0${value}`)).toBeUndefined();
        expect(parseLsn(`+${value}`)).toBeUndefined();
        expect(parseLsn(` ${value}`)).toBeUndefined();
      }),
    );
  });

  it('never comes of anything but such a form', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const value = parseLsn(text);
        if (value !== undefined) expect(value.toString()).toBe(text);
      }),
    );
  });

  it.each(['', '-1', '1.0', '1e3', '0x10', '00', '18446744073709551616', '99999999999999999999', '١'])(
    'is not %j',
    (text) => {
      expect(parseLsn(text)).toBeUndefined();
      expect(lsnSchema.safeParse(text).success).toBe(false);
    },
  );

  it('is not a number: JSON would have rounded it', () => {
    expect(lsnSchema.safeParse(1).success).toBe(false);
  });

  it('ends at 64 bits', () => {
    expect(parseLsn(MAX_LSN.toString())).toBe(MAX_LSN);
    expect(() => lsn(MAX_LSN + 1n)).toThrow(RangeError);
    expect(() => lsn(-1n)).toThrow(RangeError);
  });
});
