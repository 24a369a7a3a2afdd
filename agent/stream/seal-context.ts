import type { BackupId, ChainId, ClusterId } from '#core/ids.ts';

/**
 * What a sealed object is, bound to it as the message's encryption context: an object moved to another backup, place or
 * cluster does not open. `object` is the last part of its key: `data.00000`, `inventory.sealed`, `engine-log.sealed`.
 */
export interface SealContext {
  readonly cluster: ClusterId;
  readonly chain: ChainId;
  readonly backup: BackupId;
  readonly object: string;
}

/** The context of the object stored under `key`. */
export const sealContextOf = (
  backup: { readonly cluster: ClusterId; readonly chain: ChainId; readonly backup: BackupId },
  key: string,
): SealContext => ({
  cluster: backup.cluster,
  chain: backup.chain,
  backup: backup.backup,
  object: key.slice(key.lastIndexOf('/') + 1),
});

export const encryptionContextOf = (context: SealContext): Readonly<Record<string, string>> => ({
  cluster: context.cluster,
  chain: context.chain,
  backup: context.backup,
  object: context.object,
});
