import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import { RedoubtError } from '#core/errors.ts';
import type { KeyringKind, TablespaceEncryption } from '#core/tablespace-encryption.ts';
import { parseComponentKeyring } from './component-keyring-format.ts';
import type { EscrowDocument } from './escrow-document.ts';
import { parseKeyManagementFile } from './key-management-format.ts';
import { parseKeyringFile } from './keyring-file-format.ts';
import type { KeyringKey } from './keyring-key.ts';

type Role = EscrowDocument['files'][number]['role'];

export interface KeyringPart {
  readonly role: Role;
  readonly name: string;
  readonly content: Buffer;
}

/** A keyring as it was at one moment: plaintext, in memory only. Call `destroy` when it is no longer needed. */
export interface KeyringSnapshot {
  readonly kind: KeyringKind;
  readonly files: readonly KeyringPart[];
  /** None where the keys are elsewhere (Vault, KMIP, KMS). */
  readonly keys: readonly KeyringKey[];
  /** How the key of an encrypted key file is derived; 0 where not by PBKDF2. */
  readonly pbkdf2Iterations: number;
  destroy(): void;
}

/** Far above any keyring; a path that names something else must not fill the memory. */
const MAX_BYTES = 16 * 1024 * 1024;

const unreadable = (path: string, why: string): RedoubtError =>
  new RedoubtError('KeyringUnreadable', `${path}: ${why}`);

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'the agent may not read it',
  EISDIR: 'it is a directory',
  ENOTDIR: 'there is no such file',
};

/** One file of a keyring, whole. Throws `KeyringUnreadable` where it is missing, unreadable or empty. */
export const readPart = async (role: Role, path: string): Promise<KeyringPart> => {
  try {
    await using file = await open(path, 'r');
    const stat = await file.stat();
    if (!stat.isFile()) throw unreadable(path, stat.isDirectory() ? 'it is a directory' : 'it is not a file');
    if (stat.size > MAX_BYTES) throw unreadable(path, `it has ${stat.size} bytes: no keyring is that large`);
    const content = await file.readFile();
    if (content.length === 0) throw unreadable(path, 'it is empty');
    return { role, name: basename(path), content };
  } catch (error) {
    if (error instanceof RedoubtError) throw error;
    const { code = '' } = error as NodeJS.ErrnoException;
    throw unreadable(path, REASONS[code] ?? `it cannot be read (${code})`);
  }
};

/** The keys in `files`, or what is wrong with them in words. */
const keysOf = (
  kind: KeyringKind,
  files: readonly KeyringPart[],
  pbkdf2Iterations: number,
): readonly KeyringKey[] | string => {
  const content = (role: Role): Buffer | undefined => files.find((file) => file.role === role)?.content;
  switch (kind) {
    case 'keyring-file':
      return parseKeyringFile(content('keyring') ?? Buffer.alloc(0));
    case 'component-keyring-file':
      return parseComponentKeyring(content('keyring') ?? Buffer.alloc(0));
    case 'file-key-management':
      return parseKeyManagementFile(content('keyring') ?? Buffer.alloc(0), content('key-file-key'), pbkdf2Iterations);
    case 'keyring-vault':
    case 'component-keyring-vault':
    case 'component-keyring-kmip':
    case 'component-keyring-kms':
      return content('config') === undefined ? 'it has no configuration' : [];
  }
};

const wipe = (files: readonly KeyringPart[], keys: readonly KeyringKey[]): void => {
  for (const { content } of files) content.fill(0);
  for (const { bytes } of keys) bytes.fill(0);
};

const snapshot = (
  kind: KeyringKind,
  files: readonly KeyringPart[],
  keys: readonly KeyringKey[],
  pbkdf2Iterations: number,
): KeyringSnapshot => ({ kind, files, keys, pbkdf2Iterations, destroy: () => wipe(files, keys) });

/** Where a component keeps keys on the host although they are wrapped elsewhere: the AWS KMS one, in the file its configuration names. */
export const localDataFile = (kind: KeyringKind, content: Buffer | undefined): string | undefined => {
  if (kind !== 'component-keyring-kms' || content === undefined) return undefined;
  try {
    const { path } = JSON.parse(content.toString('utf8')) as { readonly path?: unknown };
    return typeof path === 'string' && path.startsWith('/') ? path : undefined;
  } catch {
    return undefined;
  }
};

/** The path a cluster file gives: of the keyring itself or of the configuration that leads to it. */
export const keyringPath = (config: TablespaceEncryption): string => ('path' in config ? config.path : config.config);

/**
 * Reads a keyring before an engine is shown it: every engine goes on without one, or with half of one, and calls the result a backup (recorded:
 * 41c, 43, 46, 62e, 62f). Throws `KeyringUnreadable` where it is missing, unreadable, empty or not of its format.
 */
export const readKeyring = async (config: TablespaceEncryption, pbkdf2Iterations = 0): Promise<KeyringSnapshot> => {
  const path = keyringPath(config);
  const files = [await readPart('path' in config ? 'keyring' : 'config', path)];
  if (config.kind === 'file-key-management' && config.keyFileKey !== undefined)
    files.push(await readPart('key-file-key', config.keyFileKey));
  const local = localDataFile(config.kind, files[0]?.content);
  if (local !== undefined) files.push(await readPart('keyring', local));
  const keys = keysOf(config.kind, files, pbkdf2Iterations);
  if (typeof keys === 'string') {
    wipe(files, []);
    throw unreadable(path, keys);
  }
  return snapshot(config.kind, files, keys, pbkdf2Iterations);
};

/** `snapshot` with another content of its keyring, and destroyed itself. Throws `KeyringUnreadable` where that is none. */
export const snapshotOfFile = (was: KeyringSnapshot, content: Buffer): KeyringSnapshot => {
  const files = was.files.map((file) => (file.role === 'keyring' ? { ...file, content } : { ...file }));
  const keys = keysOf(was.kind, files, was.pbkdf2Iterations);
  if (typeof keys === 'string') throw unreadable('the engine’s copy of the keyring', keys);
  wipe(
    was.files.filter(({ role }) => role === 'keyring'),
    was.keys,
  );
  return snapshot(was.kind, files, keys, was.pbkdf2Iterations);
};
