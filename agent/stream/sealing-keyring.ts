import { RawAesKeyringNode, RawAesWrappingSuiteIdentifier } from '@aws-crypto/raw-aes-keyring-node';
import type { ChainId } from '#core/ids.ts';

const KEY_NAMESPACE = 'redoubt';
const KEY_BYTES = 32;

/**
 * The AWS Encryption SDK keyring of a chain: a raw AES-256 wrapping key, namespace `redoubt`, name the chain's id, key the
 * chain's data key. Each message gets a data key of its own, wrapped with it.
 */
export const sealingKeyring = (dataKey: Buffer, chain: ChainId): RawAesKeyringNode => {
  // An unpooled copy: the SDK insists that the key fills its ArrayBuffer, and keeps it for the keyring's life.
  const unencryptedMasterKey = new Uint8Array(new ArrayBuffer(KEY_BYTES));
  if (dataKey.length !== KEY_BYTES) throw new RangeError(`a data key has ${KEY_BYTES} bytes, not ${dataKey.length}`);
  unencryptedMasterKey.set(dataKey);
  return new RawAesKeyringNode({
    keyNamespace: KEY_NAMESPACE,
    keyName: chain,
    unencryptedMasterKey,
    wrappingSuite: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
    utf8Sorting: true,
  });
};
