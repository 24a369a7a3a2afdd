import { describe, expect, it } from 'vitest';
import { encodeTombstone, tombstoneTime } from '#core/tombstone.ts';
import { sampleAddress, sampleBackup } from '../doubles/sample-manifest.ts';

describe('a tombstone', () => {
  const at = new Date('2026-11-22T05:12:10.000Z');
  const fields = JSON.parse(encodeTombstone(at));

  it('says when the backup was given up', () => {
    expect(tombstoneTime(encodeTombstone(at))).toEqual(at);
  });

  it.each([
    ['a manifest', sampleBackup(sampleAddress(0)).text],
    ['what is not JSON', 'tombstone'],
    ['nothing', ''],
    ['a tombstone without a time', JSON.stringify({ ...fields, at: undefined })],
    ['a tombstone of another version', JSON.stringify({ ...fields, version: 2 })],
    ['a tombstone with more in it: shredding passes tombstones over', JSON.stringify({ ...fields, keys: {} })],
  ])('is not %s', (_, text) => {
    expect(tombstoneTime(text)).toBeUndefined();
  });
});
