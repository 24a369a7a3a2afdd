import { z } from 'zod';
import { type ClusterConfig, encryptionSchema, keyAlgorithmSchema } from './cluster-config.ts';
import type { Manifest } from './manifest.ts';
import { keyringKindSchema, transitionSchema } from './tablespace-encryption.ts';

/** How a chain is encrypted, and its server's tablespaces: one way from its full to its last increment. */
export const chainEncryptionSchema = z.object({
  mode: encryptionSchema.shape.mode,
  /** Of the engine's own encryption, where it encrypts. */
  algorithm: keyAlgorithmSchema.optional(),
  /** Where the server keeps the keys of its tablespaces, if it has encrypted ones. */
  keyring: keyringKindSchema.optional(),
  transition: transitionSchema.default('none'),
});
export type ChainEncryption = Readonly<z.output<typeof chainEncryptionSchema>>;

/** What the cluster file asks for. */
export const encryptionOfConfig = ({ encryption, tablespaceEncryption }: ClusterConfig): ChainEncryption => ({
  mode: encryption.mode,
  ...(encryption.mode !== 'sealed' && { algorithm: encryption.algorithm }),
  ...(tablespaceEncryption && { keyring: tablespaceEncryption.kind }),
  transition: tablespaceEncryption && 'transition' in tablespaceEncryption ? tablespaceEncryption.transition : 'none',
});

/** What a backup was made with. */
export const encryptionOfManifest = ({ stream, keyring }: Manifest): ChainEncryption => ({
  mode: stream.encryption,
  ...(stream.algorithm && { algorithm: stream.algorithm }),
  ...(keyring && { keyring: keyring.kind }),
  transition: keyring?.transition ?? 'none',
});

const streamWords = ({ mode, algorithm }: ChainEncryption): string => (algorithm ? `${mode} (${algorithm})` : mode);

const keyringWords = ({ keyring, transition }: ChainEncryption): string =>
  `${keyring ?? 'no keyring'}${transition === 'none' ? '' : ` with transition ${transition}`}`;

/** For people: `native (AES256), keyring-file with transition passphrase`. Empty where it is the plain default. */
export const encryptionWords = (encryption: ChainEncryption): string =>
  [
    ...(encryption.mode === 'sealed' ? [] : [streamWords(encryption)]),
    ...(encryption.keyring || encryption.transition !== 'none' ? [keyringWords(encryption)] : []),
  ].join(', ');

export interface EncryptionDifference {
  readonly code: 'encryption-changed' | 'tablespace-encryption-changed';
  readonly was: string;
  readonly is: string;
}

/** The first thing in which two differ: a chain cannot go on with another encryption than it began with. */
export const encryptionDifference = (was: ChainEncryption, is: ChainEncryption): EncryptionDifference | undefined => {
  if (was.mode !== is.mode || was.algorithm !== is.algorithm)
    return { code: 'encryption-changed', was: streamWords(was), is: streamWords(is) };
  if (was.keyring !== is.keyring || was.transition !== is.transition)
    return { code: 'tablespace-encryption-changed', was: keyringWords(was), is: keyringWords(is) };
  return undefined;
};
