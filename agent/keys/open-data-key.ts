import { DecryptCommand, type KMSClient, KMSServiceException } from '@aws-sdk/client-kms';
import { RedoubtError } from '#core/errors.ts';
import type { WrappedKey } from '#core/wrapped-key.ts';

/** A plaintext key, in memory only. `destroy` overwrites it: call it when the run ends. */
export interface DataKey {
  readonly bytes: Buffer;
  destroy(): void;
}

export type OpenKey = (wrapped: WrappedKey) => Promise<DataKey>;

const KEY_BYTES = 32;

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
    const bytes = Buffer.alloc(KEY_BYTES);
    if (plaintext === undefined || plaintext.length !== KEY_BYTES) {
      plaintext?.fill(0);
      throw new RedoubtError(
        'KeyInvalid',
        `the key for ${wrapped.context.purpose} has ${plaintext?.length ?? 0} bytes, not ${KEY_BYTES}`,
      );
    }
    bytes.set(plaintext);
    plaintext.fill(0);
    return { bytes, destroy: () => bytes.fill(0) };
  };
