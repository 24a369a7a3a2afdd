import type { EncryptionContext, WrappedKey } from '../wrapped-key.ts';

export interface Grant {
  readonly kmsKey: string;
  readonly grant: string;
}

export interface GrantRequest {
  /** What the role may open: this key with this context, and nothing else. */
  readonly key: WrappedKey;
  /** ARN of the role of the host. */
  readonly role: string;
  /** The same name again gives the same grant, so that a retry leaves no second one behind. */
  readonly name: string;
}

/**
 * KMS, as far as the control plane may use it: it makes wrapped keys and lends them out, and never sees a plaintext. Every
 * method throws `KeyRefused` where KMS says no and `ServiceUnavailable` where it does not answer.
 */
export interface Keys {
  /** A new AES-256 key, wrapped under the control plane's key. */
  generate(context: EncryptionContext): Promise<WrappedKey>;
  /** `token` lets the host use the grant at once, before KMS has spread it. */
  lend(request: GrantRequest): Promise<Grant & { readonly token: string }>;
  /** A grant that is gone already is fine. */
  revoke(grant: Grant): Promise<void>;
  /** Grants of these names on the control plane's key that a crash left without a record. */
  findGrants(names: readonly string[]): Promise<readonly Grant[]>;
}
