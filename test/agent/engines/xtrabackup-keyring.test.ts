import { describe, expect, it } from 'vitest';
import { type EngineKeyring, type EngineVersion, engineOf } from '#agent/engines/engine.ts';
import type { ServerFacts } from '#agent/server/server-facts.ts';
import { limitsSchema, serverConfigSchema } from '#core/cluster-config.ts';
import type { RedoubtError } from '#core/errors.ts';
import { lsn } from '#core/lsn.ts';
import type { KeyringKind, TablespaceEncryption, Transition } from '#core/tablespace-encryption.ts';

// The options of each keyring in each phase, as the documentation of each series gives them. Paths stand for files on tmpfs.

const engine = engineOf('xtrabackup');
const PASSPHRASE = 'the-passphrase';
const at = (text: string): EngineVersion => ({ version: text, series: /^\d+\.\d+/.exec(text)?.[0] ?? '' });

const keyringOf = (kind: KeyringKind, transition: Transition = 'none'): EngineKeyring => ({
  kind,
  path: '/shm/keyring',
  transition,
  ...(transition === 'passphrase' ? { passphrase: PASSPHRASE } : {}),
});

/** What of the command lines and option files is about keys. */
const aboutKeys = (lines: readonly string[]): readonly string[] =>
  lines.filter((line) => /keyring|transition|server-id|plugin|master-key/.test(line));

const backup = (version: string, keyring: EngineKeyring, server = '5.7.44') => {
  const { args, optionFile = '' } = engine.backupCommand(at(version), {
    server: serverConfigSchema.parse({ socket: '/s', dataDirectory: '/d', optionFile: '/o' }),
    facts: {
      version: server,
      identity: { dataDirectory: '/d' },
      variables: { server_id: '7' },
    } as unknown as ServerFacts,
    credentials: {},
    fromLsn: lsn(0n),
    limits: limitsSchema.parse({}),
    options: {},
    lsnDirectory: '/l',
    scratchDirectory: '/t',
    keyring,
  });
  return [...aboutKeys(args), ...aboutKeys(optionFile.split('\n'))];
};

const prepare = (version: string, keyring: EngineKeyring) =>
  engine
    .prepareCommands(at(version), {
      baseDirectory: '/base',
      last: true,
      memoryBytes: 1,
      keyring: { ...keyring, baseOptions: '[mysqld]\ninnodb_page_size=16384\n', stepOptions: '' },
    })
    .flatMap(({ args, optionFile = '' }) => [...aboutKeys(args), ...aboutKeys(optionFile.split('\n'))]);

const rekey = (version: string, keyring: EngineKeyring) => {
  const { args, optionFile = '' } = engine.rekeyCommand(at(version), {
    preparedDirectory: '/prepared',
    dataDirectory: '/data',
    keyring,
  });
  expect(args[0]).toBe('--move-back');
  return [...aboutKeys(args), ...aboutKeys(optionFile.split('\n'))];
};

const PLUGINS = [
  ['keyring-file', '--keyring-file-data=/shm/keyring', 'keyring_file.so'],
  ['keyring-vault', '--keyring-vault-config=/shm/keyring', 'keyring_vault.so'],
] as const;

const COMPONENTS = [
  'component-keyring-file',
  'component-keyring-vault',
  'component-keyring-kmip',
  'component-keyring-kms',
] as const;

describe.each(['2.4.29', '8.0.35-30'])('a keyring plugin with XtraBackup %s', (version) => {
  it.each(PLUGINS)('%s is named in every phase', (kind, option, plugin) => {
    expect(backup(version, keyringOf(kind))).toEqual([option]);
    expect(prepare(version, keyringOf(kind))).toEqual([option]);
    // The plugin is read from the server's own option file, of which this is all it is shown.
    expect(rekey(version, keyringOf(kind))).toEqual([
      '--generate-new-master-key',
      option,
      `early-plugin-load=${plugin}`,
    ]);
  });

  it.each(PLUGINS)(
    '%s with a transition key: at prepare the passphrase and no keyring, from an option file',
    (kind, option, plugin) => {
      const passphrase = keyringOf(kind, 'passphrase');
      const line = expect.stringMatching(/^transition-key="?the-passphrase"?$/);
      expect(backup(version, passphrase)).toEqual([option, line]);
      expect(prepare(version, passphrase)).toEqual([line]);
      expect(rekey(version, passphrase)).toEqual([
        '--generate-new-master-key',
        option,
        `early-plugin-load=${plugin}`,
        line,
      ]);
    },
  );

  it.each(PLUGINS)('%s with a generated transition key: at prepare the keyring that holds it', (kind, option) => {
    expect(backup(version, keyringOf(kind, 'generated'))).toEqual([option, '--generate-transition-key']);
    expect(prepare(version, keyringOf(kind, 'generated'))).toEqual([option]);
    expect(rekey(version, keyringOf(kind, 'generated'))).toContain('--generate-new-master-key');
  });
});

describe.each(['8.4.0-6', '9.7.1'])('a keyring component with XtraBackup %s', (version) => {
  const option = '--component-keyring-config=/shm/keyring';

  it.each(COMPONENTS)('%s: the server tells at the backup, then the configuration is named', (kind) => {
    expect(backup(version, keyringOf(kind), '8.4.0')).toEqual([]);
    expect(prepare(version, keyringOf(kind))).toEqual([option]);
    expect(rekey(version, keyringOf(kind))).toEqual(['--generate-new-master-key', option]);
    expect(prepare(version, keyringOf(kind, 'passphrase'))).toEqual([expect.stringMatching(/^transition-key=/)]);
    expect(backup(version, keyringOf(kind, 'generated'), '8.4.0')).toEqual(['--generate-transition-key']);
  });
});

it('is told the server’s id where the names of keys hold it: before MySQL 5.7.13', () => {
  expect(backup('2.4.7', keyringOf('keyring-file'), '5.7.12')).toContain('--server-id=7');
  expect(backup('2.4.7', keyringOf('keyring-file'), '5.7.13')).not.toContain('--server-id=7');
});

it('is told where its plugins lie from the version on that can be told', () => {
  const keyring = { ...keyringOf('keyring-file'), pluginDirectory: '/plugins' };
  expect(backup('2.4.7', keyring)).not.toContain('--xtrabackup-plugin-dir=/plugins');
  for (const options of [backup('2.4.11', keyring), prepare('2.4.11', keyring), rekey('8.0.35-30', keyring)])
    expect(options).toContain('--xtrabackup-plugin-dir=/plugins');
});

it.each(['2.4.29', '8.0.35-30', '8.4.0-6', '9.7.1'])(
  'XtraBackup %s is shown no passphrase on its command line',
  (version) => {
    const kind = version.startsWith('2') || version.startsWith('8.0') ? 'keyring-file' : 'component-keyring-file';
    const keyring = keyringOf(kind, 'passphrase');
    const commands = [
      ...engine.prepareCommands(at(version), {
        baseDirectory: '/base',
        last: false,
        memoryBytes: 1,
        keyring: { ...keyring, baseOptions: '', stepOptions: '' },
      }),
      engine.rekeyCommand(at(version), { preparedDirectory: '/p', dataDirectory: '/d', keyring }),
    ];
    for (const { args, env } of commands) expect(JSON.stringify([args, env ?? {}])).not.toContain(PASSPHRASE);
  },
);

const asked = (version: string, tablespaceEncryption: TablespaceEncryption): string => {
  try {
    engine.checkEncryption(at(version), { encryption: { mode: 'sealed', algorithm: 'AES256' }, tablespaceEncryption });
    return 'can';
  } catch (error) {
    const { code, detail } = error as RedoubtError;
    return `${code}: ${detail}`;
  }
};

const configOf = (kind: KeyringKind, transition: Transition = 'none'): TablespaceEncryption =>
  (kind === 'file-key-management'
    ? { kind, path: '/k' }
    : /file$/.test(kind)
      ? { kind, path: '/k', transition }
      : { kind, config: '/k', transition }) as TablespaceEncryption;

describe('which version can be asked for which keyring', () => {
  it.each<[KeyringKind, string, string]>([
    ['keyring-file', '2.4.1', '2.4.2'],
    ['keyring-vault', '2.4.10', '2.4.11'],
    ['component-keyring-file', '8.0.27-19', '8.0.28-20'],
    ['component-keyring-kmip', '8.0.27-19', '8.0.28-20'],
    ['component-keyring-kms', '8.0.28-20', '8.0.28-21'],
  ])('%s: not %s, but %s', (kind, before, since) => {
    expect(asked(before, configOf(kind))).toMatch(/^EncryptionUnsupported: .* needs XtraBackup .* or newer/);
    expect(asked(since, configOf(kind))).toBe('can');
  });

  it.each<[KeyringKind, string]>([
    ['component-keyring-file', '2.4.29'],
    ['component-keyring-vault', '8.0.35-30'],
    ['keyring-file', '8.4.0-6'],
    ['keyring-vault', '9.7.1'],
    ['file-key-management', '8.0.35-30'],
  ])('%s is not known to %s, and what is instead is named', (kind, version) => {
    expect(asked(version, configOf(kind))).toMatch(
      /^EncryptionUnsupported: XtraBackup .* knows no .*: (it knows .*keyring|that is MariaDB’s: use mariadb-backup)/,
    );
  });

  it.each(['passphrase', 'generated'] as const)('a transition key (%s): not 2.4.10, but 2.4.11', (transition) => {
    expect(asked('2.4.10', configOf('keyring-file', transition))).toMatch(
      /^EncryptionUnsupported: a transition key needs XtraBackup 2\.4\.11/,
    );
    expect(asked('2.4.11', configOf('keyring-file', transition))).toBe('can');
  });
});
