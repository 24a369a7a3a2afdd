import { describe, expect, it } from 'vitest';
import { freeBuffer } from '#agent/stream/free-buffer.ts';

describe('freeing a buffer', () => {
  it('empties one that is alone in its memory', () => {
    const buffer = Buffer.allocUnsafeSlow(100_000);
    freeBuffer(buffer);
    expect(buffer.length).toBe(0);
  });

  it('leaves one alone that shares its memory with others', () => {
    const whole = Buffer.alloc(100_000, 'x');
    const pooled = Buffer.from('pooled');
    for (const view of [whole.subarray(10), whole.subarray(0, 10), pooled]) freeBuffer(view);
    expect([whole.length, pooled.toString()]).toEqual([100_000, 'pooled']);
  });
});
