import type { BackupRecord, ChainHead, ChainRecord, Lease } from '../catalog-records.ts';
import type { ChainId, ClusterId, RunId } from '../ids.ts';
import type { ChainKeys, Shredding } from '../wrapped-key.ts';

export interface ChainAppend {
  readonly cluster: ClusterId;
  /** The head that was read; the append fails if it is no longer the head. */
  readonly expected: ChainHead | undefined;
  readonly head: ChainHead;
  readonly record: BackupRecord;
  /** For a full: the chain it opens. */
  readonly opens?: ChainRecord;
  /** The lease under which it is written; the append fails if it is no longer held with this token. */
  readonly lease: { readonly run: RunId; readonly token: number };
}

export type AppendOutcome =
  | 'appended'
  /** The lease is another run's now. Nothing was written. */
  | 'lease-lost'
  /** The head moved, or the place is taken. Nothing was written. */
  | 'conflict';

export interface ChainShredding {
  readonly cluster: ClusterId;
  readonly chain: ChainId;
  readonly shredded: Shredding;
  /** The lease as it was read: nobody may have taken it since. */
  readonly lease: Pick<Lease, 'token' | 'held'> | undefined;
}

/**
 * The chains of a cluster and their backups: an index over the manifests. Every method throws `CatalogUnavailable` where the
 * catalog does not answer.
 */
export interface Chains {
  /** Reads its own writes. */
  head(cluster: ClusterId): Promise<ChainHead | undefined>;
  chain(cluster: ClusterId, chain: ChainId): Promise<ChainRecord | undefined>;
  backup(cluster: ClusterId, chain: ChainId, seq: number): Promise<BackupRecord | undefined>;
  /** Everything the cluster has: chains oldest first, backups by chain and `seq`. */
  all(
    cluster: ClusterId,
  ): Promise<{ readonly chains: readonly ChainRecord[]; readonly backups: readonly BackupRecord[] }>;
  /** All or nothing, in one transaction. */
  append(append: ChainAppend): Promise<AppendOutcome>;
  /** Writes `to` in the place of the keys `from`; `false` where others are there by now, and then nothing was written. */
  rewrap(cluster: ClusterId, chain: ChainId, from: ChainKeys, to: ChainKeys): Promise<boolean>;
  /**
   * In one transaction: puts the shredding in the place of the chain's keys, and closes the head if it is of this chain. `false`
   * where the chain is not there, or somebody took the lease; nothing was written then.
   */
  shred(shredding: ChainShredding): Promise<boolean>;
}
