import type { TablespaceEncryption } from '#core/tablespace-encryption.ts';
import type { OpenEscrow } from './fetch-escrow.ts';
import { type KeyringPart, readPart } from './keyring-snapshot.ts';

/**
 * The files a backup is prepared with: its escrow. Where the keys are in a service they are the backup's, but who may ask for them changes
 * (a token ends): there this host's configuration of the same kind goes before the escrowed one, if there is one at its place.
 */
export const filesToPrepareWith = async (
  { escrow, files }: OpenEscrow,
  target: TablespaceEncryption | undefined,
): Promise<readonly KeyringPart[]> => {
  if (target === undefined || target.kind !== escrow.kind || 'path' in target) return files;
  const own = await readPart('config', target.config).catch(() => undefined);
  return own === undefined ? files : [own, ...files.filter(({ role }) => role !== 'config')];
};
