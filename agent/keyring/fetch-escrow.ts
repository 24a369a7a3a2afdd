import type { Repository } from '#agent/repository/repository.ts';
import { sealContextOf } from '#agent/stream/seal-context.ts';
import { unsealBuffer } from '#agent/stream/unseal.ts';
import { RedoubtError } from '#core/errors.ts';
import type { Escrow, Manifest } from '#core/manifest.ts';
import { downloadWhole } from '../restore/download.ts';
import { decodeEscrow } from './escrow-document.ts';
import type { KeyringFingerprint } from './keyring-fingerprint.ts';
import type { KeyringPart } from './keyring-snapshot.ts';

/** A backup's own keyring, open, in memory only. */
export interface OpenEscrow {
  readonly escrow: Escrow;
  readonly files: readonly KeyringPart[];
  destroy(): void;
}

/** Far above what a sealed keyring has. */
const MAX_BYTES = 64 * 1024 * 1024;

/**
 * The keyring that was escrowed with a backup; `undefined` where none was. Throws `ObjectMissing`, or `ObjectTampered` unless it is the very
 * keyring of this backup: sealed for it, and of the fingerprint its manifest has.
 */
export const fetchEscrow = async (
  repository: Repository,
  manifest: Manifest,
  dataKey: Buffer,
  fingerprint: KeyringFingerprint,
  signal: AbortSignal,
): Promise<OpenEscrow | undefined> => {
  const escrow = manifest.keyring;
  if (escrow === undefined) return undefined;
  const { object } = escrow;
  if (object.bytes > MAX_BYTES)
    throw new RedoubtError('ObjectTampered', `${object.key} has ${object.bytes} bytes: no keyring is that large`);
  const sealed = await downloadWhole(repository, object, signal);
  const document = await unsealBuffer(sealed, dataKey, sealContextOf(manifest, object.key));
  try {
    const { kind, files } = decodeEscrow(document);
    if (kind !== escrow.kind || fingerprint.of(document) !== escrow.fingerprint)
      throw new RedoubtError('ObjectTampered', `${object.key} is not the keyring ${manifest.backup} was taken with`);
    return {
      escrow,
      files,
      destroy: () => {
        for (const { content } of files) content.fill(0);
      },
    };
  } finally {
    document.fill(0);
  }
};
