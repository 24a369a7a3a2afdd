import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { INFO_AT, infoMaster, isInfo, unwrapKey, wrapKey } from '#test/doubles/page-store/encryption-info.ts';
import { encodeKeyring, parseKeyring } from '#test/doubles/page-store/keyring-file.ts';
import {
  emptyPage,
  INDEX_TYPE,
  isSound,
  openPage,
  pageLsn,
  sealPage,
  setPageLsn,
} from '#test/doubles/page-store/page.ts';
import { blockNumber, freshLsn, lsnAfter } from '#test/doubles/page-store/redo-block.ts';
import { decodeGroup, encodeGroup } from '#test/doubles/page-store/redo-record.ts';

// The formats of the page store, against what the recorded runs show of the real ones.

const recorded = (name: string): string =>
  readFileSync(join(import.meta.dirname, '../../fixtures/xtrabackup-2.4.7', name), 'latin1');

describe('redo', () => {
  const hex = /hex ([0-9a-f]+);/.exec(recorded('86-rotate-master-key-mid-backup.txt'))?.[1] ?? '';
  const bytes = Buffer.from(hex, 'hex');

  it('has the records of a real log: a checkpoint, and bytes written to page 0 (86)', () => {
    const first = decodeGroup(bytes, 0);
    expect(first?.records).toEqual([{ kind: 'checkpoint', lsn: 8_901_138 }]);
    expect(encodeGroup(first?.records ?? []).equals(bytes.subarray(0, 9))).toBe(true);
    // The dump ends before the record does: what follows is made up.
    const whole = Buffer.concat([bytes.subarray(9), Buffer.alloc(26), Buffer.from([31])]);
    const [write] = decodeGroup(whole, 0)?.records ?? [];
    expect(write).toMatchObject({ kind: 'write', space: 23, page: 0, offset: INFO_AT });
    const info = write?.kind === 'write' ? write.data : Buffer.alloc(0);
    expect(isInfo(info)).toBe(true);
    expect(infoMaster(info)).toEqual({ id: 3, uuid: 'a9e81ac4-e62a-11f1-bbf9-02fc00000001' });
  });

  it('is not decoded where it ends in the middle of a group', () => {
    const group = encodeGroup([
      { kind: 'write', space: 300, page: 70_000, offset: 38, data: Buffer.from('abc') },
      { kind: 'delete', space: 5, name: 'app/t' },
    ]);
    expect(decodeGroup(group, 0)?.end).toBe(group.length);
    for (let length = 0; length < group.length; length++)
      expect(decodeGroup(group.subarray(0, length), 0)).toBeUndefined();
  });

  it('numbers its blocks and LSNs as the real one (64, 42, 21)', () => {
    expect(blockNumber(7_106_048)).toBe(13_880);
    expect(freshLsn(4_829_817)).toBe(4_830_220);
    expect(lsnAfter(4_829_040, 9)).toBe(4_829_049);
    expect(lsnAfter(512 + 12, 496)).toBe(1024 + 12);
  });
});

describe('a page', () => {
  const key = { key: Buffer.alloc(32, 1), iv: Buffer.alloc(32, 2) };

  it('shows its LSN, and not its body, when it is encrypted', () => {
    const page = emptyPage(7, 3, INDEX_TYPE);
    page.write('payload', 100);
    setPageLsn(page, 123_456);
    const sealed = sealPage(page, key);
    expect(pageLsn(sealed)).toBe(123_456);
    expect(sealed.includes('payload')).toBe(false);
    expect(openPage(sealed, key).equals(page)).toBe(true);
  });

  it('is not sound with a bit changed', () => {
    const sealed = sealPage(emptyPage(7, 3, INDEX_TYPE), undefined);
    expect(isSound(sealed)).toBe(true);
    sealed[5000] = 1;
    expect(isSound(sealed)).toBe(false);
  });
});

describe('a tablespace key', () => {
  const key = { key: Buffer.alloc(32, 1), iv: Buffer.alloc(32, 2) };
  const uuid = 'a9e81ac4-e62a-11f1-bbf9-02fc00000001';
  const masters = (bytes: Buffer) => ({
    size: 1,
    get: (name: string) => (name === `INNODBKey-${uuid}-4` ? bytes : undefined),
  });
  const info = wrapKey(key, Buffer.alloc(32, 9), uuid, 4);

  it('opens with the master key that is named, and with no other', () => {
    expect(unwrapKey(info, masters(Buffer.alloc(32, 9)), 1)).toEqual({ kind: 'key', key });
    expect(unwrapKey(info, masters(Buffer.alloc(32, 8)), 1).kind).toBe('other-key');
    expect(unwrapKey(info, { size: 0, get: () => undefined }, 1).kind).toBe('no-keyring');
    expect(unwrapKey(info, { size: 1, get: () => undefined }, 1).kind).toBe('unknown');
  });
});

describe('a keyring file', () => {
  const keys = [
    { id: 'INNODBKey-a9e81ac4-e62a-11f1-bbf9-02fc00000001-1', type: 'AES', user: '', key: Buffer.alloc(32, 7) },
  ];

  it('is what the plugin writes: a line, records of whole words, an end', () => {
    const content = encodeKeyring(keys);
    expect(content.toString('latin1', 0, 24)).toBe('Keyring file version:1.0');
    expect(Number(content.readBigUInt64LE(24)) % 8).toBe(0);
    expect(content.toString('latin1').endsWith('EOF')).toBe(true);
    expect(content.includes(Buffer.alloc(32, 7))).toBe(false);
    expect(parseKeyring(content)).toEqual(keys);
  });

  it('is none without its end', () => {
    expect(() => parseKeyring(encodeKeyring(keys).subarray(0, -1))).toThrow();
  });
});
