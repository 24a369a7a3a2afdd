import { existsSync, readdirSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SecretDirectory } from '#agent/io/secret-directory.ts';
import type { KeyringPart } from '#agent/keyring/keyring-snapshot.ts';
import { stageKeyring } from '#agent/keyring/stage-keyring.ts';
import type { KeyringKind } from '#core/tablespace-encryption.ts';

const TMPFS = 0x01021994;
const nothing = { transition: 'none', passphrase: undefined, engineDirectory: undefined } as const;
const part = (role: KeyringPart['role'], content: string): KeyringPart => ({
  role,
  name: 'x',
  content: Buffer.from(content),
});

let secrets: SecretDirectory;
beforeEach(() => {
  secrets = SecretDirectory.create();
});
afterEach(() => secrets[Symbol.dispose]());

const staged = (kind: KeyringKind, ...files: readonly KeyringPart[]) => stageKeyring(secrets, { kind, files }, nothing);

describe('a keyring an engine is shown', () => {
  it.each<[KeyringKind, string, readonly KeyringPart[]]>([
    ['keyring-file', 'keyring', [part('keyring', 'secret')]],
    ['component-keyring-file', 'component_keyring_file.cnf', [part('keyring', 'secret')]],
    ['file-key-management', 'key-file', [part('keyring', 'secret'), part('key-file-key', 'secret')]],
    ['keyring-vault', 'keyring_vault.conf', [part('config', 'token = secret')]],
    ['component-keyring-vault', 'component_keyring_vault.cnf', [part('config', '{"token":"secret"}')]],
    ['component-keyring-kmip', 'component_keyring_kmip.cnf', [part('config', '{"password":"secret"}')]],
    [
      'component-keyring-kms',
      'component_keyring_kms.cnf',
      [part('config', '{"path":"/var/lib/kms","secret_access_key":"secret"}'), part('keyring', 'secret')],
    ],
  ])(
    '%s lies on tmpfs, for the agent alone, under the name its engine wants, and is gone with the run',
    (kind, name, files) => {
      const { path } = staged(kind, ...files);
      expect(basename(path)).toBe(name);
      expect(statfsSync(path).type).toBe(TMPFS);
      expect(statSync(dirname(path)).mode & 0o777).toBe(0o700);
      for (const file of readdirSync(dirname(path)))
        expect(statSync(join(dirname(path), file)).mode & 0o777).toBe(0o600);
      secrets[Symbol.dispose]();
      expect(existsSync(path)).toBe(false);
    },
  );

  it.each<[KeyringKind, readonly KeyringPart[]]>([
    ['component-keyring-file', [part('keyring', 'keys')]],
    [
      'component-keyring-kms',
      [part('config', '{"path":"/var/lib/kms","region":"eu-west-1"}'), part('keyring', 'keys')],
    ],
  ])('%s leads to the copy beside it, never to the server’s own file', (kind, files) => {
    const { path } = staged(kind, ...files);
    const config = JSON.parse(readFileSync(path, 'utf8'));
    expect(config.path).toBe(join(dirname(path), 'keyring'));
    expect(readFileSync(config.path, 'utf8')).toBe('keys');
  });

  it('gets a new file for a new master key where the server has none yet', () => {
    const { path } = staged('component-keyring-kms', part('config', '{"path":"/var/lib/kms"}'));
    expect(JSON.parse(readFileSync(path, 'utf8')).path).toBe(join(dirname(path), 'keyring'));
    expect(existsSync(join(dirname(path), 'keyring'))).toBe(false);
  });
});
