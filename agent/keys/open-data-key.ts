import { DecryptCommand, type KMSClient, KMSServiceException } from '@aws-sdk/client-kms';
import { RedoubtError } from '#core/errors.ts';
import type { KeyPurpose, WrappedKey } from '#core/wrapped-key.ts';

/** A plaintext key, in memory only. `destroy` overwrites it: call it when the run ends. */
export interface DataKey {
  readonly bytes: Buffer;
  destroy(): void;
}

export type OpenKey = (wrapped: WrappedKey) => Promise<DataKey>;

const KEY_BYTES = 32;
/** An engine's own key has the length of its algorithm; whether it is the right one, `keyFault` says. */
const ENGINE_KEY_BYTES: readonly number[] = [16, 24, 32];

const hasKeyLength = (purpose: KeyPurpose, bytes: number): boolean =>
  purpose === 'engine-key' ? ENGINE_KEY_BYTES.includes(bytes) : bytes === KEY_BYTES;

/** Refusals are final: another try meets the same key policy and the same credentials. Everything else says: not now. */
const REFUSALS = new Set([
  'AccessDeniedException',
  'DisabledException',
  'ExpiredTokenException',
  'IncorrectKeyException',
  'InvalidCiphertextException',
  'InvalidGrantTokenException',
  'InvalidKeyUsageException',
  'InvalidSignatureException',
  'KMSInvalidStateException',
  'NotFoundException',
  'UnrecognizedClientException',
  'ValidationException',
]);

/**
 * Opens wrapped keys with KMS `Decrypt`, their encryption context and the run's grant. Throws `KeyRefused` where KMS refuses,
 * `ServiceUnavailable` where it does not answer, throttles or has trouble itself, `KeyInvalid` where what it answers is no AES-256 key.
 */
export const openDataKey =
  (kms: KMSClient, grantToken: string | undefined, signal: AbortSignal): OpenKey =>
  async (wrapped) => {
    let plaintext: Uint8Array | undefined;
    try {
      const answer = await kms.send(
        new DecryptCommand({
          KeyId: wrapped.kmsKey,
          CiphertextBlob: Buffer.from(wrapped.ciphertext, 'base64'),
          EncryptionContext: { ...wrapped.context },
          ...(grantToken === undefined ? {} : { GrantTokens: [grantToken] }),
        }),
        { abortSignal: signal },
      );
      plaintext = answer.Plaintext;
    } catch (error) {
      signal.throwIfAborted();
      const name = error instanceof Error ? error.name : String(error);
      const key = `${wrapped.kmsKey} (${wrapped.context.purpose}): ${name}`;
      throw error instanceof KMSServiceException && REFUSALS.has(name)
        ? new RedoubtError('KeyRefused', `KMS refuses ${key}`, { cause: error })
        : new RedoubtError('ServiceUnavailable', `KMS does not answer for ${key}`, { cause: error });
    }
    const { purpose } = wrapped.context;
    if (plaintext === undefined || !hasKeyLength(purpose, plaintext.length)) {
      const wanted = purpose === 'engine-key' ? ENGINE_KEY_BYTES.join(', ') : KEY_BYTES;
      const detail = `the key for ${purpose} has ${plaintext?.length ?? 0} bytes, not ${wanted}`;
      plaintext?.fill(0);
      throw new RedoubtError('KeyInvalid', detail);
    }
    const bytes = Buffer.alloc(plaintext.length);
    bytes.set(plaintext);
    plaintext.fill(0);
    return { bytes, destroy: () => bytes.fill(0) };
  };
