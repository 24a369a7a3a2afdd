import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { RedoubtError } from '#core/errors.ts';
import type { Escrow } from '#core/manifest.ts';
import type { TablespaceEncryption } from '#core/tablespace-encryption.ts';
import { runProgram } from '../restore/run-program.ts';
import type { OpenEscrow } from './fetch-escrow.ts';
import { type KeyringFingerprint, keyNameOf } from './keyring-fingerprint.ts';
import { type KeyringPart, localDataFile, readKeyring, readPart } from './keyring-snapshot.ts';

/** What the server that is to run on a restored directory has for a keyring. */
export type TargetKeyring =
  /** Nothing is encrypted. */
  | { readonly kind: 'not-needed' }
  /** The keys are in a service: whether it still has them, only the server sees. */
  | { readonly kind: 'in-service' }
  | { readonly kind: 'fits' }
  /** No file is there; the escrowed one can be put there. */
  | { readonly kind: 'absent'; readonly paths: readonly string[] }
  /** Another keyring is there: it is never overwritten. In words. */
  | { readonly kind: 'lacks'; readonly why: string }
  /** The cluster file names none. */
  | { readonly kind: 'unnamed' };

interface KeyringFile {
  readonly role: KeyringPart['role'];
  readonly path: string;
}

/** The files on this host that a server reads keys from. Throws `KeyringUnreadable` where a configuration that leads to them cannot be read. */
const filesOf = async (config: TablespaceEncryption): Promise<readonly KeyringFile[]> => {
  if (!('path' in config)) {
    const local = localDataFile(config.kind, (await readPart('config', config.config)).content);
    return local === undefined ? [] : [{ role: 'keyring', path: local }];
  }
  return [
    { role: 'keyring', path: config.path },
    ...(config.kind === 'file-key-management' && config.keyFileKey !== undefined
      ? [{ role: 'key-file-key', path: config.keyFileKey } as const]
      : []),
  ];
};

/** The keys of a server that gets a new master key, as they are; `place` is the file that will hold it, absent where a service does. */
export interface OwnKeyring {
  readonly files: readonly KeyringPart[];
  readonly place: string | undefined;
}

/** Throws `KeyringUnreadable` where the configuration that leads to the keys cannot be read. No file yet is no fault: a new one will be made. */
export const readOwnKeyring = async (config: TablespaceEncryption): Promise<OwnKeyring> => {
  const configuration = 'path' in config ? [] : [await readPart('config', config.config)];
  const place = (await filesOf(config))[0]?.path;
  const own = place !== undefined && (await exists(place)) ? [await readPart('keyring', place)] : [];
  return { files: [...configuration, ...own], place };
};

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  );

/**
 * A generated transition key is only in the keyring of the backup, so that is what a server gets. Throws `KeyringUnreadable` where it has one
 * already: it is never overwritten.
 */
export const checkGeneratedFits = ({ files, place }: OwnKeyring): void => {
  if (files.some(({ role }) => role === 'keyring'))
    throw new RedoubtError(
      'KeyringUnreadable',
      `${place} exists, but only the keyring of the backup holds its transition key: move it away, and it is put there`,
    );
};

/** Looks at what is there, before anything is restored. */
export const lookAtTargetKeyring = async (
  config: TablespaceEncryption | undefined,
  escrow: Escrow | undefined,
  fingerprint: KeyringFingerprint,
): Promise<TargetKeyring> => {
  if (escrow === undefined) return { kind: 'not-needed' };
  if (config === undefined) return { kind: 'unnamed' };
  if (config.kind !== escrow.kind)
    return { kind: 'lacks', why: `the backup needs a ${escrow.kind}, the server has a ${config.kind}` };
  const files = (await filesOf(config)).map(({ path }) => path);
  const absent: string[] = [];
  for (const path of files) if (!(await exists(path))) absent.push(path);
  if (files[0] !== undefined && absent.includes(files[0])) return { kind: 'absent', paths: absent };
  if (!('path' in config)) return { kind: 'in-service' };
  let held: ReadonlySet<string>;
  try {
    const keyring = await readKeyring(config);
    held = new Set(fingerprint.keyIds(keyring.keys));
    keyring.destroy();
  } catch (error) {
    if (error instanceof RedoubtError) return { kind: 'lacks', why: error.detail };
    throw error;
  }
  const missing = escrow.keyIds.filter((id) => !held.has(id)).map(keyNameOf);
  return missing.length === 0
    ? { kind: 'fits' }
    : { kind: 'lacks', why: `${files[0]} has not these keys, or other bytes under their names: ${missing.join(', ')}` };
};

const giveTo = async (path: string, owner: string): Promise<void> => {
  const chowned = await runProgram(['chown', '--no-dereference', `${owner}:`, path]);
  if (chowned.code !== 0) throw new RedoubtError('Unexpected', `${path} cannot be given to ${owner}: ${chowned.said}`);
};

/** Writes a file that must not exist, whole or not at all, for the server's user alone. */
const createFile = async (path: string, content: Buffer, owner: string): Promise<void> => {
  await mkdir(dirname(path), { recursive: true, mode: 0o750 });
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  await giveTo(path, owner);
};

/**
 * Puts the escrowed keyring where the server looks for it. Only where no file is: one that is there is never written to. Throws
 * `KeyringUnreadable` where what is there afterwards is not the keyring, as when one of two files was there already; what was written is
 * gone again then.
 */
export const installEscrow = async (
  config: TablespaceEncryption,
  { escrow, files }: OpenEscrow,
  owner: string,
  fingerprint: KeyringFingerprint,
): Promise<readonly string[]> => {
  const written: string[] = [];
  try {
    for (const { role, path } of await filesOf(config)) {
      const content = files.find((file) => file.role === role)?.content;
      if (content === undefined || (await exists(path))) continue;
      await createFile(path, content, owner);
      written.push(path);
    }
    const now = await lookAtTargetKeyring(config, escrow, fingerprint);
    if (now.kind !== 'fits' && now.kind !== 'in-service')
      throw new RedoubtError('KeyringUnreadable', now.kind === 'lacks' ? now.why : `there is no keyring (${now.kind})`);
    return written;
  } catch (error) {
    for (const path of written) await rm(path, { force: true });
    throw error;
  }
};

/**
 * Puts a keyring with a new master key in the place of the server's, which it was made from: the old one stays beside it, as `<path>.redoubt-<run>`.
 */
export const replaceKeyring = async (path: string, content: Buffer, owner: string, run: string): Promise<string> => {
  const aside = `${path}.redoubt-${run}`;
  const fresh = `${path}.redoubt-new`;
  await rm(fresh, { force: true });
  await createFile(fresh, content, owner);
  if (await exists(path)) {
    if (!(await exists(aside))) await rename(path, aside);
    await rename(fresh, path);
    return aside;
  }
  await rename(fresh, path);
  return path;
};
