import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BackupInstruction, Parent } from '#core/agent-protocol.ts';
import { asRedoubtError, RedoubtError } from '#core/errors.ts';
import type { Escrow, StoredObject } from '#core/manifest.ts';
import { keyringKey } from '#core/object-keys.ts';
import type { Transition } from '#core/tablespace-encryption.ts';
import type { EngineKeyring } from '../engines/engine.ts';
import type { ServerFacts } from '../server/server-facts.ts';
import { encodeEscrow } from './escrow-document.ts';
import { type KeyringFingerprint, keyNameOf } from './keyring-fingerprint.ts';
import { type KeyringSnapshot, keyringPath, readKeyring, snapshotOfFile } from './keyring-snapshot.ts';
import { masterKeyNames } from './tablespace-keys.ts';

/** A transition key the engine made for one backup: it is in that backup's escrow, and perhaps still in the server's keyring. */
const TRANSITION_KEY = 'XBKey-';

export const transitionOf = (config: BackupInstruction['tablespaceEncryption']): Transition =>
  config !== undefined && 'transition' in config ? config.transition : 'none';

/** Throws `KeyringChanged` unless every key of the parent's keyring is in this one: with fewer the chain cannot be prepared. */
export const checkSameKeys = (
  parent: NonNullable<Parent['keyring']>,
  keyring: KeyringSnapshot | undefined,
  fingerprint: KeyringFingerprint,
): void => {
  if (keyring === undefined)
    throw new RedoubtError('KeyringChanged', 'the backup before was taken with a keyring, the cluster file names none');
  // What a service holds only the server sees.
  if (isInService(keyring)) return;
  const held = new Set(fingerprint.keyIds(keyring.keys));
  const gone = parent.keyIds
    .filter((id) => !held.has(id))
    .map(keyNameOf)
    .filter((name) => !name.startsWith(TRANSITION_KEY));
  if (gone.length > 0)
    throw new RedoubtError(
      'KeyringChanged',
      `${gone.length} keys of the backup before are gone or replaced: ${gone.slice(0, 5).join(', ')}`,
    );
};

/**
 * The keyring as it is now that the engine has ended. Throws `KeyringRotated` where it is not what it was: what was copied before needs the one,
 * what was copied after the other, and the engine saw neither whole.
 */
export const keyringAfter = async (
  { tablespaceEncryption }: BackupInstruction,
  before: KeyringSnapshot,
): Promise<KeyringSnapshot> => {
  const config = tablespaceEncryption as NonNullable<typeof tablespaceEncryption>;
  const after = await readKeyring(config, before.pbkdf2Iterations).catch((error: unknown) => {
    throw new RedoubtError('KeyringRotated', `during the backup: ${asRedoubtError(error).detail}`, { cause: error });
  });
  if (encodeEscrow(before).equals(encodeEscrow(after))) return after;
  // The engine itself may have put its transition key there.
  if (transitionOf(config) === 'generated' && masterKeys(before) === masterKeys(after)) return after;
  after.destroy();
  throw new RedoubtError('KeyringRotated', `${keyringPath(config)} is not what it was when the backup began`);
};

const isInService = ({ files }: KeyringSnapshot): boolean => files.some(({ role }) => role === 'config');

/** Names of the master keys in use where they are in a service; none where the keyring is here, and says so itself. */
export const keysInService = async (
  keyring: KeyringSnapshot | undefined,
  { identity: { dataDirectory, pageSize }, tablespaces }: ServerFacts,
): Promise<readonly string[]> =>
  keyring !== undefined && isInService(keyring)
    ? masterKeyNames(
        tablespaces.filter(({ encrypted }) => encrypted).map(({ path }) => join(dataDirectory, path)),
        pageSize,
      )
    : [];

const masterKeys = ({ keys }: KeyringSnapshot): string =>
  keys
    .filter(({ name }) => !name.startsWith(TRANSITION_KEY))
    .map(({ name, bytes }) => `${name}=${createHash('sha256').update(bytes).digest('hex')}`)
    .sort()
    .join(' ');

/** What is escrowed: the server's keyring, or the engine's copy of it where that is what the engine put its transition key into. */
export const escrowOf = async (after: KeyringSnapshot, staged: EngineKeyring | undefined): Promise<KeyringSnapshot> => {
  if (staged?.transition !== 'generated' || staged.kind !== 'keyring-file') return after;
  const copy = await readFile(staged.path);
  const added = copy.includes(TRANSITION_KEY) && copy.length > (after.files[0]?.content.length ?? 0);
  return added ? snapshotOfFile(after, copy) : after;
};

/** Seals and stores a keyring, and overwrites it. */
export const storeKeyring = async (
  keyring: KeyringSnapshot,
  transition: Transition,
  fingerprint: KeyringFingerprint,
  inService: readonly string[],
  sealed: (key: string, content: Buffer) => Promise<StoredObject>,
  instruction: BackupInstruction,
): Promise<Escrow> => {
  const document = encodeEscrow(keyring);
  try {
    return {
      kind: keyring.kind,
      object: await sealed(keyringKey(instruction), document),
      fingerprint: fingerprint.of(document),
      keyIds: [...fingerprint.keyIds(keyring.keys), ...inService],
      transition,
    };
  } finally {
    document.fill(0);
    keyring.destroy();
  }
};
