import type { Lease } from '../catalog-records.ts';
import type { ClusterId, RunId } from '../ids.ts';

export interface LeaseRequest {
  readonly cluster: ClusterId;
  readonly run: RunId;
  /** ARN of the execution whose end frees the lease. */
  readonly execution: string;
  readonly now: Date;
  /** After this many seconds it may be taken without asking about its holder. */
  readonly seconds: number;
}

export type Acquisition =
  | { readonly kind: 'acquired'; readonly lease: Lease }
  /** Somebody else holds it. */
  | { readonly kind: 'held'; readonly lease: Lease };

/**
 * One writer per cluster. Each change is one conditional write; the fencing token of a cluster only ever grows, by every
 * acquisition, so that whoever held the lease before can be told apart. Every method throws `CatalogUnavailable` where the
 * catalog does not answer.
 */
export interface Leases {
  /** Where the lease is absent, released, expired or held by this very run of this very execution: a run that asks again gets a new token. */
  acquire(request: LeaseRequest): Promise<Acquisition>;
  /** Takes the lease from a holder known to have ended; only while its token is still `from`'s. */
  takeOver(request: LeaseRequest, from: Lease): Promise<Acquisition>;
  /** Only while the token is still this one; `false` where it is not, and then nothing changed. */
  release(cluster: ClusterId, token: number): Promise<boolean>;
  /** Reads its own writes. A released or expired lease is returned too. */
  get(cluster: ClusterId): Promise<Lease | undefined>;
}
