import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Transition } from '#core/tablespace-encryption.ts';
import type { EngineKeyring } from '../engines/engine.ts';
import type { SecretDirectory } from '../io/secret-directory.ts';
import { type KeyringSnapshot, localDataFile } from './keyring-snapshot.ts';

export interface Staging {
  readonly transition: Transition;
  readonly passphrase: string | undefined;
  readonly engineDirectory: string | undefined;
}

/** Where a tree of programs (`bin`, `lib`) has the plugins of its XtraBackup. */
const PLUGIN_PLACES = ['lib/xtrabackup/plugin', 'lib/plugin', 'lib64/xtrabackup/plugin'] as const;

const pluginDirectoryOf = (engineDirectory: string | undefined): string | undefined =>
  engineDirectory === undefined
    ? undefined
    : PLUGIN_PLACES.map((place) => join(engineDirectory, '..', place)).find((place) => existsSync(place));

/**
 * Lays a keyring out on tmpfs as an engine wants it, in a directory of its own: the plugin of keyring_file must be able to write there, and
 * a component reads a configuration that must have its very own name.
 */
export const stageKeyring = (
  secrets: SecretDirectory,
  { kind, files }: Pick<KeyringSnapshot, 'kind' | 'files'>,
  { transition, passphrase, engineDirectory }: Staging,
): EngineKeyring => {
  const directory = secrets.makeDirectory();
  const write = (name: string, content: string | Uint8Array): string => {
    const path = join(directory, name);
    writeFileSync(path, content, { mode: 0o600, flag: 'wx' });
    return path;
  };
  const content = (role: (typeof files)[number]['role']): Buffer | undefined =>
    files.find((file) => file.role === role)?.content;
  // Where there is none, the engine makes one: a fresh keyring for a new master key.
  const data = (): string => {
    const found = content('keyring');
    return found === undefined ? join(directory, 'keyring') : write('keyring', found);
  };
  const paths = (): { readonly path: string; readonly keyFileKey?: string } => {
    switch (kind) {
      case 'keyring-file':
        return { path: data() };
      case 'component-keyring-file':
        return { path: write('component_keyring_file.cnf', JSON.stringify({ path: data(), read_only: false })) };
      case 'file-key-management': {
        const key = content('key-file-key');
        return {
          path: write('key-file', content('keyring') ?? ''),
          ...(key === undefined ? {} : { keyFileKey: write('key-file-key', key) }),
        };
      }
      case 'keyring-vault':
        return { path: write('keyring_vault.conf', content('config') ?? '') };
      case 'component-keyring-vault':
      case 'component-keyring-kmip':
      case 'component-keyring-kms': {
        const config = content('config') ?? Buffer.alloc(0);
        const isLocal = localDataFile(kind, config) !== undefined;
        return {
          path: write(
            `${kind.replaceAll('-', '_')}.cnf`,
            isLocal ? JSON.stringify({ ...JSON.parse(config.toString('utf8')), path: data() }) : config,
          ),
        };
      }
    }
  };
  // MariaDB's plugin is the server's own; where that lies, the backup says.
  const pluginDirectory = kind === 'file-key-management' ? undefined : pluginDirectoryOf(engineDirectory);
  return {
    kind,
    ...paths(),
    transition,
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(pluginDirectory === undefined ? {} : { pluginDirectory }),
  };
};
