import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MasterKeys } from '../../../page-store/encryption-info.ts';
import type { TablespaceKey } from '../../../page-store/page.ts';
import { toolVersion } from '../tool-version.ts';
import { Exit, tell } from './console.ts';
import { loadKeyringFile } from './keyring.ts';
import type { Options } from './options.ts';
import type { ServerConnection } from './server-connection.ts';
import { TransitionKey } from './transition-key.ts';

const version = toolVersion();

/** Everything about keys of encrypted tablespaces that a backup needs or leaves behind. */
export interface BackupKeys {
  readonly masters: MasterKeys;
  readonly uuid: string;
  /** Spaces whose loss fails the backup in the end (2.4.16 and later). */
  readonly fatalMissing: readonly number[];
  note(space: number, key: TablespaceKey): void;
  missing(space: number, why: 'unknown' | 'no-keyring' | 'other-key'): void;
  /** Files that belong into the backup: `xtrabackup_keys`, the configuration of a keyring component. */
  write(file: (name: string, content: Buffer) => void): void;
}

export const backupKeys = async (
  options: Options,
  connection: ServerConnection,
  directory: string,
): Promise<BackupKeys> => {
  const uuid = connection.variable('server_uuid');
  let configuration: Buffer | undefined;
  let keyringFile = options.get('keyring-file-data');
  if (version.modern) {
    // The server says which component holds its keys; its configuration goes into the backup as it is.
    const status = await connection.query('SELECT * FROM performance_schema.keyring_component_status');
    const path = join(directory, 'component_keyring_file.cnf');
    if (status.some((row) => row.STATUS_VALUE === 'component_keyring_file') && existsSync(path)) {
      configuration = readFileSync(path);
      keyringFile = (JSON.parse(configuration.toString()) as { path?: string }).path;
    } else if (version.atLeast('8.4.0')) keyringFile = undefined;
  }
  const keyring = loadKeyringFile(keyringFile, configuration !== undefined);
  const transition = TransitionKey.forBackup(options, keyring, uuid);
  const keys = new Map<number, TablespaceKey>();
  const lost: number[] = [];
  return {
    masters: keyring,
    uuid,
    get fatalMissing() {
      return version.atLeast('2.4.16') ? lost : [];
    },
    note: (space, key) => {
      keys.set(space, key);
    },
    missing: (space, why) => {
      // A table whose first page is not written yet looks the same; from 2.4.21 on its redo gives the key.
      if (why !== 'unknown' || keyring.size === 0) lost.push(space);
    },
    write: (file) => {
      if (configuration) file('component_keyring_file.cnf', configuration);
      if (transition) file('xtrabackup_keys', transition.encode(keys));
      if (transition && lost.length > 0) {
        tell.bare('Error: cannot save tablespace keys.');
        throw new Exit(1);
      }
    },
  };
};
