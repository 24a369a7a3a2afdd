import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  canonicalJson,
  encodeManifest,
  type Manifest,
  manifestDigestInput,
  manifestMacInput,
  manifestSchema,
} from '#core/manifest.ts';
import { sampleAddress, sampleKey, sampleManifest } from '../doubles/sample-manifest.ts';
import { risingLsns } from './arbitraries.ts';

const manifestArbitrary: fc.Arbitrary<Manifest> = fc
  .record({
    lsns: risingLsns(3),
    seq: fc.nat({ max: 500 }),
    reason: fc.string({ unit: 'grapheme' }),
    bytes: fc.nat(),
    gtid: fc.option(fc.string(), { nil: undefined }),
    hasCanary: fc.boolean(),
  })
  .map(({ lsns: [fromLsn, toLsn, lastLsn], seq, reason, bytes, gtid, hasCanary }) => {
    const { canary, ...sample } = sampleManifest(sampleAddress(seq));
    return {
      ...sample,
      reason,
      checkpoints: { type: 'incremental', fromLsn, toLsn, lastLsn } as Manifest['checkpoints'],
      stream: { ...sample.stream, bytes },
      ...(hasCanary && canary && { canary }),
      ...(gtid !== undefined && { binlog: { file: 'binlog.000001', position: '4', gtid } }),
    };
  });

/** The same value with every object's keys in another order. */
const shuffled = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(shuffled);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([key, item]) => [key, shuffled(item)]),
    );
  return value;
};

describe('canonical JSON', () => {
  it('is JSON of the same value, with one form whatever the order of keys', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        const text = canonicalJson(value);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(canonicalJson(shuffled(value))).toBe(text);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
      }),
    );
  });

  it('leaves out what is undefined, as JSON does', () => {
    expect(canonicalJson({ b: undefined, a: [undefined, 1] })).toBe('{"a":[null,1]}');
  });

  it('sorts keys by code unit, the same on every machine', () => {
    expect(canonicalJson({ ä: 1, z: 2, a: 3, B: 4, '10': 5, '9': 6 })).toBe('{"10":5,"9":6,"B":4,"a":3,"z":2,"ä":1}');
  });
});

describe('a manifest', () => {
  it('reads back as it was written, LSNs of any size included', () => {
    fc.assert(
      fc.property(manifestArbitrary, (manifest) => {
        const text = encodeManifest(manifest);
        const read = manifestSchema.parse(JSON.parse(text));
        expect(read).toEqual(manifest);
        expect(encodeManifest(read)).toBe(text);
      }),
    );
  });

  const mac = (manifest: Manifest) => createHmac('sha256', 'key').update(manifestMacInput(manifest)).digest('hex');

  it('has the same input to its code when written and when read back', () => {
    fc.assert(
      fc.property(manifestArbitrary, (manifest) => {
        const signed = { ...manifest, mac: mac(manifest) };
        expect(mac(manifestSchema.parse(JSON.parse(encodeManifest(signed))))).toBe(signed.mac);
      }),
    );
  });

  const sample = sampleManifest(sampleAddress(0));
  const { keys: _keys, mac: _mac, ...bound } = sample;
  it.each(Object.keys(bound) as (keyof typeof bound)[])('binds %s by its code', (field) => {
    const { [field]: _without, ...rest } = sample;
    // Only what a reader accepts reaches the code; a field that is gone is the strongest change there is.
    const altered = typeof sample[field] === 'string' ? { ...sample, [field]: `${sample[field]}0` } : { ...rest };
    let input: string;
    try {
      input = manifestMacInput(altered as Manifest);
    } catch {
      return expect(manifestSchema.safeParse(altered).success).toBe(false);
    }
    expect(input).not.toBe(manifestMacInput(sample));
  });

  const rewrapped: fc.Arbitrary<Manifest['keys']> = fc
    .record({
      ciphertext: fc.base64String({ minLength: 4 }),
      region: fc.constantFrom('us-east-1', 'eu-central-1'),
      others: fc.subarray(['engine', 'transition'] as const),
    })
    .map(({ ciphertext, region, others }) => {
      const kmsKey = `arn:aws:kms:${region}:111122223333:key/mrk-1`;
      const data = { ...sampleKey(sample), kmsKey, ciphertext };
      return { data, ...Object.fromEntries(others.map((name) => [name, data])) };
    });

  it('keeps its code and its digest when its keys are wrapped anew', () => {
    fc.assert(
      fc.property(manifestArbitrary, rewrapped, (manifest, keys) => {
        const anew = { ...manifest, keys };
        expect(manifestMacInput(anew)).toBe(manifestMacInput(manifest));
        expect(manifestDigestInput(encodeManifest(anew))).toBe(manifestDigestInput(encodeManifest(manifest)));
      }),
    );
  });

  it.each(Object.keys(sample).filter((field) => field !== 'keys'))('binds %s by its digest', (field) => {
    const stored = JSON.parse(encodeManifest(sample)) as Record<string, unknown>;
    const altered = JSON.stringify({ ...stored, [field]: 'altered' });
    expect(manifestDigestInput(altered)).not.toBe(manifestDigestInput(encodeManifest(sample)));
  });

  it('binds by its digest what this version does not know, and never takes another text for a manifest', () => {
    const text = encodeManifest(sample);
    const later = JSON.stringify({ ...JSON.parse(text), later: 1 });
    const inputs = [text, later, '', 'null', `[${text}]`, `${text}}`].map(manifestDigestInput);
    expect(new Set(inputs).size).toBe(inputs.length);
  });
});
