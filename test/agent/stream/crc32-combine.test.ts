import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32AppendZeros, crc32Combine } from '#agent/stream/crc32-combine.ts';

describe('joining CRC-32s', () => {
  it('gives the CRC of the joined bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), fc.uint8Array({ maxLength: 2000 }), (a, b) => {
        expect(crc32Combine(crc32(a), crc32(b), b.length)).toBe(crc32(Buffer.concat([a, b])));
      }),
    );
  });

  it('appends zeros without reading them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 100_000 }), (a, zeros) => {
        expect(crc32AppendZeros(crc32(a), zeros)).toBe(crc32(Buffer.concat([a, Buffer.alloc(zeros)])));
      }),
    );
  });

  it('holds beyond 32 bits of length', () => {
    // Appending in two steps is appending at once.
    const half = 5 * 2 ** 32 + 3;
    expect(crc32AppendZeros(crc32('x'), 2 * half)).toBe(crc32AppendZeros(crc32AppendZeros(crc32('x'), half), half));
  });
});
