import type { BackupRecord, ChainHead, ChainRecord } from '../catalog-records.ts';
import type { ChainId, ClusterId, RunId } from '../ids.ts';

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
}
