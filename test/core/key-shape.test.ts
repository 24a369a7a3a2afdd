import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keyBytes, keyFault, transitionKeyFault } from '#core/key-shape.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const algorithms = ['AES128', 'AES192', 'AES256'] as const;

describe('the shape of a key', () => {
  it.each(algorithms)('lets exactly the length of %s through', (algorithm) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (key) => {
        expect(keyFault(algorithm, key) === undefined).toBe(key.length === keyBytes(algorithm));
      }),
    );
    expect(keyFault(algorithm, new Uint8Array(keyBytes(algorithm)))).toBeUndefined();
  });

  it('names the newline that makes 33 bytes of 32', () => {
    expect(keyFault('AES256', bytes(`${'k'.repeat(32)}\n`))).toEqual({
      code: 'KeyInvalid',
      detail: 'the key has 33 bytes because it ends with a newline; write it with printf %s, not with echo',
    });
    expect(keyFault('AES256', bytes(`${'k'.repeat(32)}\r\n`))?.detail).toContain('Windows line end');
  });

  it('names the weaker cipher that a shorter key would silently give', () => {
    expect(keyFault('AES256', bytes('k'.repeat(16)))?.detail).toBe(
      'the key has 16 bytes: the engine would accept it and use AES128 instead of AES256',
    );
  });

  it('never shows the key', () => {
    expect(JSON.stringify(keyFault('AES256', bytes('secret-secret')))).not.toContain('secret');
    expect(JSON.stringify(transitionKeyFault('secret-secret'))).not.toContain('secret');
  });
});

describe('the shape of a transition key', () => {
  it('is the base64url form of 32 bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (key) => {
        expect(transitionKeyFault(Buffer.from(key).toString('base64url'))).toBeUndefined();
      }),
    );
  });

  it.each(['', 'short', `${'a'.repeat(43)}\n`, `#${'a'.repeat(42)}`, 'a'.repeat(44)])('is not %j', (text) => {
    expect(transitionKeyFault(text)?.code).toBe('KeyInvalid');
  });
});
