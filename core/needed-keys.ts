import type { ClusterConfig } from './cluster-config.ts';
import { keyBytes } from './key-shape.ts';
import type { KeyPurpose } from './wrapped-key.ts';

/** AES-256, for what Redoubt itself seals; and what a transition key is an encoding of. */
const DATA_KEY_BYTES = 32;

export interface NeededKey {
  readonly name: 'data' | 'engine' | 'transition';
  readonly purpose: KeyPurpose;
  readonly bytes: number;
}

/** The keys that a new chain of this cluster needs, the data key first. */
export const neededKeys = ({
  encryption,
  tablespaceEncryption,
}: ClusterConfig): readonly [NeededKey, ...NeededKey[]] => {
  const needsTransition =
    tablespaceEncryption && 'transition' in tablespaceEncryption && tablespaceEncryption.transition === 'passphrase';
  return [
    { name: 'data', purpose: 'backup-data', bytes: DATA_KEY_BYTES },
    ...(encryption.mode === 'sealed'
      ? []
      : [{ name: 'engine', purpose: 'engine-key', bytes: keyBytes(encryption.algorithm) } as const]),
    ...(needsTransition ? [{ name: 'transition', purpose: 'transition-key', bytes: DATA_KEY_BYTES } as const] : []),
  ];
};
