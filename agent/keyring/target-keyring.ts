import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { RedoubtError } from '#core/errors.ts';
import type { Escrow } from '#core/manifest.ts';
import type { TablespaceEncryption } from '#core/tablespace-encryption.ts';
import { runProgram } from '../restore/run-program.ts';
import type { OpenEscrow } from './fetch-escrow.ts';
import { type KeyringFingerprint, keyNameOf } from './keyring-fingerprint.ts';
import { readKeyring } from './keyring-snapshot.ts';

/** What the server that is to run on a restored directory has for a keyring. */
export type TargetKeyring =
  /** Nothing is encrypted, or the keys are in a service that only the server reaches. */
  | { readonly kind: 'not-needed' }
  | { readonly kind: 'fits' }
  /** No file is there; the escrowed one can be put there. */
  | { readonly kind: 'absent'; readonly paths: readonly string[] }
  /** Another keyring is there: it is never overwritten. In words. */
  | { readonly kind: 'lacks'; readonly why: string }
  /** The cluster file names none. */
  | { readonly kind: 'unnamed' };

/** The files a server reads its keyring from, in the order of an escrow's. */
const filesOf = (config: TablespaceEncryption): readonly string[] => {
  if (!('path' in config)) return [];
  return config.kind === 'file-key-management' && config.keyFileKey !== undefined
    ? [config.path, config.keyFileKey]
    : [config.path];
};

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  );

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
  const files = filesOf(config);
  if (files.length === 0) return { kind: 'not-needed' };
  const absent: string[] = [];
  for (const path of files) if (!(await exists(path))) absent.push(path);
  if (absent.includes(config.kind === 'file-key-management' ? config.path : (files[0] as string)))
    return { kind: 'absent', paths: absent };
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
    for (const [index, path] of filesOf(config).entries()) {
      const content = files[index]?.content;
      if (content === undefined || (await exists(path))) continue;
      await createFile(path, content, owner);
      written.push(path);
    }
    const now = await lookAtTargetKeyring(config, escrow, fingerprint);
    if (now.kind !== 'fits')
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
