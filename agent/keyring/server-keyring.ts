import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { RedoubtError } from '#core/errors.ts';
import type { TablespaceEncryption } from '#core/tablespace-encryption.ts';
import type { ServerFacts } from '../server/server-facts.ts';
import { type KeyringSnapshot, keyringPath, readKeyring } from './keyring-snapshot.ts';
import { tablespaceKeyFault } from './tablespace-keys.ts';

/** The variable in which a server says where its keyring is; components keep that to themselves. */
const VARIABLES: Readonly<Partial<Record<TablespaceEncryption['kind'], string>>> = {
  'keyring-file': 'keyring_file_data',
  'keyring-vault': 'keyring_vault_config',
  'file-key-management': 'file_key_management_filename',
};

/** Redo and undo are encrypted with the server's keys too; so is MySQL's binary log, whose last file XtraBackup 8 copies. */
const ENCRYPTED_LOGS = [
  'innodb_encrypt_log',
  'innodb_redo_log_encrypt',
  'innodb_undo_log_encrypt',
  'binlog_encryption',
] as const;

const LOOKING = 8;

const unreadable = (detail: string): RedoubtError => new RedoubtError('KeyringUnreadable', detail);

/** What of the server needs a keyring, in words; `undefined` where nothing does. */
const encryptedPart = (facts: ServerFacts): string | undefined => {
  const encrypted = facts.tablespaces.filter((tablespace) => tablespace.encrypted);
  if (encrypted.length > 0) return `${encrypted.length} tablespaces are encrypted, among them ${encrypted[0]?.name}`;
  const log = ENCRYPTED_LOGS.find((name) => !['', 'OFF'].includes(facts.variables[name]?.toUpperCase() ?? ''));
  return log === undefined ? undefined : `the server runs with ${log}=${facts.variables[log]}`;
};

const isSameFile = async (one: string, other: string): Promise<boolean> => {
  const [a, b] = await Promise.all([one, other].map((path) => realpath(path).catch(() => path)));
  return a === b;
};

const checkPlace = async (config: TablespaceEncryption, facts: ServerFacts): Promise<void> => {
  const name = VARIABLES[config.kind];
  if (name === undefined) return;
  const actual = facts.variables[name];
  if (!actual) {
    if (encryptedPart(facts) === undefined) return;
    throw new RedoubtError(
      'EncryptionUnsupported',
      `the cluster file names a ${config.kind}, but the server has no ${name}: its keys come from elsewhere`,
    );
  }
  const path = keyringPath(config);
  if (!(await isSameFile(actual, path)))
    throw unreadable(`the server's ${name} is ${actual}, the cluster file says ${path}`);
};

const checkFileKey = (config: TablespaceEncryption, facts: ServerFacts): void => {
  if (config.kind !== 'file-key-management') return;
  const actual = facts.variables.file_key_management_filekey ?? '';
  if (actual !== '' && !actual.startsWith('FILE:'))
    throw new RedoubtError(
      'EncryptionUnsupported',
      'file_key_management_filekey is the key itself: mariadb-backup writes it into backup-my.cnf and into its log. ' +
        'Put it into a file of mode 0600 and set file_key_management_filekey=FILE:<path>',
    );
};

/**
 * Why the keyring does not open the server's encrypted tablespaces, in words. The engine copies their pages without opening them, so nobody
 * else notices before the restore that a keyring is stale or another server's.
 */
const openingFault = async (snapshot: KeyringSnapshot, facts: ServerFacts): Promise<string | undefined> => {
  // Where the keys are elsewhere only the server knows them.
  if (snapshot.keys.length === 0) return undefined;
  const { flavour, pageSize, dataDirectory } = facts.identity;
  const algorithm = /ctr/i.test(facts.variables.file_key_management_encryption_algorithm ?? '') ? 'ctr' : 'cbc';
  const rest = facts.tablespaces.filter(({ encrypted, path }) => encrypted && path.endsWith('.ibd')).values();
  const faults: string[] = [];
  const worker = async (): Promise<void> => {
    for (const { name, path } of rest) {
      if (faults.length > 0) return;
      const seen = { flavour, pageSize, algorithm } as const;
      const fault = await tablespaceKeyFault(join(dataDirectory, path), snapshot.keys, seen);
      if (fault !== undefined) faults.push(`${name} (${fault})`);
    }
  };
  await Promise.all(Array.from({ length: LOOKING }, worker));
  return faults[0];
};

/**
 * The keyring of the server, proven as far as it can be: it is the file the server names, it is of its format, and it opens the encrypted
 * tablespaces. `undefined` where nothing is encrypted and no keyring is named. Throws `EncryptionUnsupported` where something is encrypted
 * and no keyring is named, or where a secret would leave it; `KeyringUnreadable` for everything else.
 */
export const readServerKeyring = async (
  config: TablespaceEncryption | undefined,
  facts: ServerFacts,
): Promise<KeyringSnapshot | undefined> => {
  if (config === undefined) {
    const part = encryptedPart(facts);
    if (part === undefined) return undefined;
    throw new RedoubtError(
      'EncryptionUnsupported',
      `${part}; the cluster file names no tablespaceEncryption, so nothing could be restored`,
    );
  }
  checkFileKey(config, facts);
  await checkPlace(config, facts);
  const iterations = Number(facts.variables.file_key_management_use_pbkdf2 ?? 0) || 0;
  const snapshot = await readKeyring(config, iterations);
  const fault = await openingFault(snapshot, facts).catch((error: unknown) => {
    snapshot.destroy();
    throw error;
  });
  if (fault !== undefined) {
    snapshot.destroy();
    throw unreadable(`${keyringPath(config)} does not open ${fault}`);
  }
  return snapshot;
};
