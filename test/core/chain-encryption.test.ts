import { describe, expect, it } from 'vitest';
import { appendBackup } from '#core/append-backup.ts';
import { encryptionOfConfig, encryptionOfManifest, encryptionWords } from '#core/chain-encryption.ts';
import { encryptionFault } from '#core/encryption-fault.ts';
import type { Manifest } from '#core/manifest.ts';
import { neededKeys } from '#core/needed-keys.ts';
import { nextBackup } from '#core/next-backup.ts';
import type { Shredding } from '#core/wrapped-key.ts';
import { sampleAddress, sampleBackup, sampleCluster, sampleManifest } from '../doubles/sample-manifest.ts';

const keyringFile = { kind: 'keyring-file', path: '/var/lib/mysql-keyring/keyring' };
const keyFile = { kind: 'file-key-management', path: '/etc/mysql/keyfile' };
const shredded: Shredding = { at: '2026-11-23T09:00:00Z', by: 'ada@laptop' };

const cluster = (facts: object) => sampleCluster({ engine: 'xtrabackup', ...facts });

/** The head after a full that was taken as `facts` say. */
const headAfter = (facts: object, keys?: Manifest['keys']) => {
  const config = cluster(facts);
  const { mode, algorithm } = encryptionOfConfig(config);
  const { stream, inventory, engine } = sampleManifest(sampleAddress(0));
  const { manifest, key, sha256 } = sampleBackup(sampleAddress(0), {
    engine: { ...engine, name: 'xtrabackup' },
    stream: { ...stream, encryption: mode, ...(algorithm && { algorithm }) },
    ...(config.tablespaceEncryption && {
      keyring: {
        kind: config.tablespaceEncryption.kind,
        object: inventory,
        fingerprint: 'b'.repeat(64),
        keyIds: [],
        transition: encryptionOfConfig(config).transition,
      },
    }),
    ...(keys && { keys }),
  });
  const append = appendBackup(undefined, manifest, key, sha256);
  if (append.kind !== 'append') throw new Error(JSON.stringify(append));
  expect(encryptionOfManifest(manifest)).toEqual(encryptionOfConfig(config));
  return append.head;
};

const decide = (was: object, is: object) =>
  nextBackup({
    config: cluster(is),
    head: headAfter(was),
    requested: 'auto',
    now: new Date('2026-11-22T06:00:00Z'),
  });

const native = { encryption: { mode: 'native' } };
const native128 = { encryption: { mode: 'native', algorithm: 'AES128' } };
const withKeyring = { tablespaceEncryption: keyringFile };
const withPassphrase = { tablespaceEncryption: { ...keyringFile, transition: 'passphrase' } };
const withComponent = { tablespaceEncryption: { ...keyringFile, kind: 'component-keyring-file' } };

describe('a chain goes on', () => {
  it.each([
    ['sealed', {}],
    ['native', native128],
    ['sealed in native', { encryption: { mode: 'native-and-sealed' } }],
    ['with a keyring', withKeyring],
    ['with a transition key', withPassphrase],
  ])('as it began: %s', (_, facts) => {
    expect(decide(facts, facts).kind).toBe('incremental');
  });
});

describe('a change of encryption begins a new chain, and says what was and what is', () => {
  it.each([
    [{}, native, 'encryption-changed', 'sealed, the cluster file now says native (AES256)'],
    [native, {}, 'encryption-changed', 'native (AES256), the cluster file now says sealed'],
    [native128, native, 'encryption-changed', 'native (AES128), the cluster file now says native (AES256)'],
    [{}, withKeyring, 'tablespace-encryption-changed', 'no keyring, the cluster file now says keyring-file'],
    [
      withKeyring,
      withPassphrase,
      'tablespace-encryption-changed',
      'keyring-file, the cluster file now says keyring-file with transition passphrase',
    ],
    [
      withKeyring,
      withComponent,
      'tablespace-encryption-changed',
      'keyring-file, the cluster file now says component-keyring-file',
    ],
    [withKeyring, {}, 'tablespace-encryption-changed', 'keyring-file, the cluster file now says no keyring'],
  ])('%j to %j', (was, is, code, words) => {
    expect(decide(was, is)).toMatchObject({ kind: 'full', code, reason: `the chain was taken with ${words}` });
  });

  it('but not the path of a keyring, nor an algorithm that is not used', () => {
    const moved = { tablespaceEncryption: { ...keyringFile, path: '/elsewhere/keyring' } };
    expect(decide(withKeyring, moved).kind).toBe('incremental');
    expect(decide({}, { encryption: { mode: 'sealed', algorithm: 'AES128' } }).kind).toBe('incremental');
  });

  it('and an increment that was taken with another than its chain is not recorded', () => {
    const head = headAfter({});
    const { stream, engine } = sampleManifest(sampleAddress(1));
    const { manifest, key, sha256 } = sampleBackup(sampleAddress(1), {
      tip: head.tip,
      engine: { ...engine, name: 'xtrabackup' },
      stream: { ...stream, encryption: 'native', algorithm: 'AES256' },
    });
    expect(appendBackup(head, manifest, key, sha256)).toMatchObject({
      kind: 'refuse',
      reason: 'the chain was taken with sealed, this backup with native (AES256)',
    });
  });
});

describe('a chain whose keys were shredded', () => {
  const { data } = sampleManifest(sampleAddress(0)).keys as { readonly data: never };
  const increment = (tip: Manifest['keys'], head = headAfter({}, { shredded })) => {
    const { engine } = sampleManifest(sampleAddress(1));
    const { manifest, key, sha256 } = sampleBackup(sampleAddress(1), {
      tip: head.tip,
      engine: { ...engine, name: 'xtrabackup' },
      keys: tip,
    });
    return appendBackup(head, manifest, key, sha256);
  };

  it('is followed by a full, even where an increment was asked for', () => {
    const head = { ...headAfter({}), shredded };
    expect(
      nextBackup({ config: cluster({}), head, requested: 'incremental', now: new Date('2026-11-22T06:00:00Z') }),
    ).toMatchObject({ kind: 'full', code: 'keys-shredded', reason: expect.stringContaining('were shredded') });
  });

  it('gets no increment that holds keys', () => {
    expect(increment({ data })).toMatchObject({ kind: 'refuse', reason: expect.stringContaining('were shredded') });
  });

  it('is known again, as shredded, by a catalog that is made anew', () => {
    expect(headAfter({}, { shredded }).shredded).toEqual(shredded);
    expect(increment({ shredded })).toMatchObject({ kind: 'append', head: { shredded } });
  });
});

describe('the keys of a new chain', () => {
  it.each([
    [{}, [['backup-data', 32]]],
    [
      native,
      [
        ['backup-data', 32],
        ['engine-key', 32],
      ],
    ],
    [
      { encryption: { mode: 'native', algorithm: 'AES192' } },
      [
        ['backup-data', 32],
        ['engine-key', 24],
      ],
    ],
    [
      { encryption: { mode: 'native-and-sealed', algorithm: 'AES128' }, ...withPassphrase },
      [
        ['backup-data', 32],
        ['engine-key', 16],
        ['transition-key', 32],
      ],
    ],
    [withKeyring, [['backup-data', 32]]],
    [{ tablespaceEncryption: { ...keyringFile, transition: 'generated' } }, [['backup-data', 32]]],
  ])('of %j', (facts, expected) => {
    expect(neededKeys(cluster(facts)).map(({ purpose, bytes }) => [purpose, bytes])).toEqual(expected);
  });
});

describe('what the engine cannot do', () => {
  it.each([
    ['native encryption', 'mariadb-backup', native, 'write mode: sealed'],
    ['both encryptions', 'mariadb-backup', { encryption: { mode: 'native-and-sealed' } }, 'write mode: sealed'],
    ['a keyring of MySQL', 'mariadb-backup', withKeyring, 'write kind: file-key-management'],
    ['a component of MySQL', 'mariadb-backup', withComponent, 'write kind: file-key-management'],
    ['the key file of MariaDB', 'xtrabackup', { tablespaceEncryption: keyFile }, 'or engine: mariadb-backup'],
    ['an algorithm that nothing uses', 'xtrabackup', { encryption: { algorithm: 'AES128' } }, 'write mode: native'],
  ])('%s with %s is refused, and the alternative named', (_, engine, facts, words) => {
    expect(encryptionFault(sampleCluster({ engine, ...facts }))).toEqual({
      code: 'EncryptionUnsupported',
      detail: expect.stringContaining(words),
    });
  });

  it('is named all at once', () => {
    const fault = encryptionFault(sampleCluster({ ...native, ...withKeyring }));
    expect(fault?.detail.split('\n')).toHaveLength(2);
  });

  it.each([
    ['mariadb-backup', {}],
    ['mariadb-backup', { tablespaceEncryption: keyFile }],
    ['xtrabackup', { ...native128, ...withPassphrase }],
    ['xtrabackup', withComponent],
  ])('is not what %s can do: %j', (engine, facts) => {
    expect(encryptionFault(sampleCluster({ engine, ...facts }))).toBeUndefined();
  });
});

describe('the words for an encryption', () => {
  it.each([
    [{}, ''],
    [native, 'native (AES256)'],
    [withPassphrase, 'keyring-file with transition passphrase'],
    [{ ...native128, ...withKeyring }, 'native (AES128), keyring-file'],
  ])('%j', (facts, words) => {
    expect(encryptionWords(encryptionOfConfig(cluster(facts)))).toBe(words);
  });
});
