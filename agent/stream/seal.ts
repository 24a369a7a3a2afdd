import type { Duplex } from 'node:stream';
import { buildEncrypt } from '@aws-crypto/encrypt-node';
import { AlgorithmSuiteIdentifier, CommitmentPolicy } from '@aws-crypto/material-management-node';
import { encryptionContextOf, type SealContext } from './seal-context.ts';
import { sealingKeyring } from './sealing-keyring.ts';

const { encrypt, encryptStream } = buildEncrypt(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);

/** Large frames: the SDK pays for every one with a cipher, three buffers and two turns of the event loop. */
export const FRAME_BYTES = 1024 * 1024;

/**
 * AES-256-GCM with key commitment, without a signature: whoever holds the data key may write, and the manifest's MAC
 * says what belongs together.
 */
const SUITE = AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY;

/** One AWS Encryption SDK message: write the plaintext, read the message. */
export const createSeal = (dataKey: Buffer, context: SealContext): Duplex =>
  encryptStream(sealingKeyring(dataKey, context.chain), {
    suiteId: SUITE,
    encryptionContext: encryptionContextOf(context),
    frameLength: FRAME_BYTES,
  }) as unknown as Duplex;

/** The same for something small. */
export const sealBuffer = async (plaintext: Buffer, dataKey: Buffer, context: SealContext): Promise<Buffer> => {
  const { result } = await encrypt(sealingKeyring(dataKey, context.chain), plaintext, {
    suiteId: SUITE,
    encryptionContext: encryptionContextOf(context),
    frameLength: FRAME_BYTES,
  });
  return result;
};
