import type { ClusterId } from '../ids.ts';
import type { ChainKeys, EncryptionContext, WrappedKey } from '../wrapped-key.ts';

export interface Grant {
  readonly kmsKey: string;
  readonly grant: string;
}

export interface NamedGrant extends Grant {
  readonly name: string;
}

export interface GrantRequest {
  /** What the role may open: the keys of this one chain, and nothing else. */
  readonly keys: ChainKeys;
  /** ARN of the role of the host. */
  readonly role: string;
  /** The same name again gives the same grant, so that a retry leaves no second one behind. */
  readonly name: string;
}

/**
 * KMS, as far as the control plane may use it: it makes wrapped keys, wraps them anew and lends them out, and never sees a
 * plaintext. Every method throws `KeyRefused` where KMS says no and `ServiceUnavailable` where it does not answer.
 */
export interface Keys {
  /** The key that new keys are wrapped under: its ARN. */
  readonly dataKey: string;
  /** A new key of this many bytes, wrapped under the control plane's key. */
  generate(context: EncryptionContext, bytes: number): Promise<WrappedKey>;
  /** The same key under the KMS key `to`, in the same context. The old form opens as before. */
  rewrap(key: WrappedKey, to: string): Promise<WrappedKey>;
  /** `token` lets the host use the grant at once, before KMS has spread it. */
  lend(request: GrantRequest): Promise<Grant & { readonly token: string }>;
  /** A grant that is gone already is fine. */
  revoke(grant: Grant): Promise<void>;
  /** Every grant on `kmsKey` for chains of this cluster; may miss one that was made a moment ago. */
  findGrants(kmsKey: string, cluster: ClusterId): Promise<readonly NamedGrant[]>;
}
