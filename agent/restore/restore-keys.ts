import type { RunContext } from '#agent/commands/run-context.ts';
import { fetchEscrow, type OpenEscrow } from '#agent/keyring/fetch-escrow.ts';
import { KeyringFingerprint, keyNameOf } from '#agent/keyring/keyring-fingerprint.ts';
import { keyringPath } from '#agent/keyring/keyring-snapshot.ts';
import {
  checkGeneratedFits,
  installEscrow,
  lookAtTargetKeyring,
  readOwnKeyring,
  type TargetKeyring,
} from '#agent/keyring/target-keyring.ts';
import { type EngineKeys, openEngineKeys } from '#agent/keys/open-engine-keys.ts';
import type { RestoreInstruction } from '#core/agent-protocol.ts';
import { RedoubtError } from '#core/errors.ts';
import type { Manifest } from '#core/manifest.ts';

/** Everything a restore has of secrets besides its data key, in memory only. */
export interface RestoreKeys {
  readonly engineKeys: EngineKeys;
  /** By place in the line. */
  readonly escrows: readonly (OpenEscrow | undefined)[];
  readonly fingerprint: KeyringFingerprint;
  destroy(): void;
}

/**
 * Opens what the manifests say is needed, before anything large is downloaded: the engine's key, the transition key, and every keyring,
 * verified. Throws what KMS says, `KeyInvalid`, `ObjectMissing` or `ObjectTampered`.
 */
export const openRestoreKeys = async (
  instruction: RestoreInstruction,
  context: RunContext,
  manifests: readonly Manifest[],
  dataKey: Buffer,
): Promise<RestoreKeys> => {
  const fingerprint = new KeyringFingerprint(dataKey);
  const escrows: (OpenEscrow | undefined)[] = [];
  let engineKeys: EngineKeys | undefined;
  const destroy = (): void => {
    fingerprint.destroy();
    engineKeys?.destroy();
    for (const escrow of escrows) escrow?.destroy();
  };
  try {
    engineKeys = await openEngineKeys(
      instruction.keys,
      {
        engine: manifests.map(({ stream }) => stream.algorithm).find((algorithm) => algorithm !== undefined),
        transition: manifests.some(({ keyring }) => keyring?.transition === 'passphrase'),
      },
      context.openKey,
    );
    for (const manifest of manifests)
      escrows.push(await fetchEscrow(context.repository, manifest, dataKey, fingerprint, context.signal));
    return { engineKeys, escrows, fingerprint, destroy };
  } catch (error) {
    destroy();
    throw error;
  }
};

/**
 * Whether a server can run on what is restored, looked at before it is: `replace` starts one, so its keyring must be the backup's, or a place
 * where the backup's can be put. Throws `KeyringUnreadable`, `EncryptionUnsupported`. Nothing was touched then.
 */
export const checkTargetKeyring = async (
  { mode, tablespaceEncryption }: RestoreInstruction,
  last: Manifest,
  fingerprint: KeyringFingerprint,
): Promise<TargetKeyring> => {
  const escrow = last.keyring;
  if (escrow !== undefined && escrow.transition !== 'none') {
    // The engine makes a new master key: which keyring gets it, only the cluster file can say.
    if (tablespaceEncryption === undefined)
      throw new RedoubtError(
        'EncryptionUnsupported',
        `${last.backup} was taken with a transition key; name the keyring of the server that will run on it (tablespaceEncryption)`,
      );
    const own = await readOwnKeyring(tablespaceEncryption);
    try {
      if (escrow.transition === 'generated') checkGeneratedFits(own);
    } finally {
      for (const { content } of own.files) content.fill(0);
    }
    return { kind: 'not-needed' };
  }
  const found = await lookAtTargetKeyring(tablespaceEncryption, escrow, fingerprint);
  if (mode !== 'replace') return found;
  if (found.kind === 'lacks')
    throw new RedoubtError('KeyringUnreadable', `${found.why}; it is never overwritten: move it away or add them`);
  if (found.kind === 'unnamed')
    throw new RedoubtError(
      'KeyringUnreadable',
      `${last.backup} has encrypted tablespaces, but the cluster file names no keyring for the server (tablespaceEncryption)`,
    );
  return found;
};

/** Puts the keyring of the backup in its place, in mode `replace` and where no file is; else says what a server will need. */
export const handOverKeyring = async (
  instruction: RestoreInstruction,
  context: Pick<RunContext, 'log'>,
  last: Manifest,
  keys: RestoreKeys,
  found: TargetKeyring,
): Promise<void> => {
  const { mode, tablespaceEncryption: config, server } = instruction;
  const open = keys.escrows.at(-1);
  if (last.keyring === undefined || open === undefined || found.kind === 'not-needed' || found.kind === 'fits') return;
  if (mode === 'replace' && found.kind === 'absent' && config !== undefined) {
    const written = await installEscrow(config, open, server.owner, keys.fingerprint);
    context.log(`[Keyring] ${written.join(' and ')} came back from the escrow of ${last.backup}.`);
    return;
  }
  const names = last.keyring.keyIds.map(keyNameOf);
  if (found.kind === 'in-service') {
    context.log(
      `[Keyring] A server on this directory needs a ${last.keyring.kind} with ${names.join(', ') || 'its keys'}: the service must still hold them, ` +
        `and the server's configuration lead there. The one of the backup is sealed in ${last.keyring.object.key}.`,
    );
    return;
  }
  const where =
    found.kind === 'lacks' ? found.why : `there is none${config === undefined ? '' : ` at ${keyringPath(config)}`}`;
  context.log(
    `[Keyring] A server on this directory needs a ${last.keyring.kind} with ${names.join(', ') || 'its keys'}; ${where}. ` +
      `The one of the backup is sealed in ${last.keyring.object.key}.`,
  );
};
