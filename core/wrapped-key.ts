import { z } from 'zod';
import { type ChainId, type ClusterId, chainIdSchema, clusterIdSchema } from './ids.ts';

/**
 * `backup-data` seals objects and signs manifests; `engine-key` is the engine's own `--encrypt` key; `transition-key` is, encoded,
 * the passphrase of `--transition-key`.
 */
export const keyPurposeSchema = z.enum(['backup-data', 'engine-key', 'transition-key']);
export type KeyPurpose = z.infer<typeof keyPurposeSchema>;

/** KMS only opens a wrapped key together with the context it was made with. */
export const encryptionContextSchema = z.object({
  cluster: clusterIdSchema,
  chain: chainIdSchema,
  purpose: keyPurposeSchema,
});
export type EncryptionContext = Readonly<z.infer<typeof encryptionContextSchema>>;

/** A key of a chain as KMS wrapped it; the plaintext exists only in the agent's memory. */
export const wrappedKeySchema = z.object({
  kmsKey: z.string().startsWith('arn:'),
  /** Base64. */
  ciphertext: z.base64().min(1),
  context: encryptionContextSchema,
});
export type WrappedKey = Readonly<z.infer<typeof wrappedKeySchema>>;

/** The keys of a chain: in its catalog item and in every manifest. */
export const chainKeysSchema = z.object({
  data: wrappedKeySchema,
  engine: wrappedKeySchema.optional(),
  transition: wrappedKeySchema.optional(),
});
export type ChainKeys = Readonly<z.infer<typeof chainKeysSchema>>;

/** Who shredded the keys of a chain, when and why. */
export const shreddingSchema = z.object({
  at: z.iso.datetime(),
  /** As the operator's command names them; CloudTrail has the principal. */
  by: z.string().min(1),
  reason: z.string().optional(),
});
export type Shredding = Readonly<z.infer<typeof shreddingSchema>>;

/** What is stored of a chain's keys: they, or what is left of them once they were shredded. Nothing opens the chain then. */
export const storedKeysSchema = z.union([z.object({ shredded: shreddingSchema }), chainKeysSchema]);
export type StoredKeys = Readonly<z.infer<typeof storedKeysSchema>>;

export const encryptionContext = (cluster: ClusterId, chain: ChainId, purpose: KeyPurpose): EncryptionContext => ({
  cluster,
  chain,
  purpose,
});

/** The keys that a chain has, the data key first. */
export const wrappedKeysOf = ({ data, engine, transition }: ChainKeys): readonly WrappedKey[] => [
  data,
  ...(engine ? [engine] : []),
  ...(transition ? [transition] : []),
];

/** Every wrapped key in `stored`: none once they were shredded. */
export const keysLeftIn = (stored: StoredKeys): readonly WrappedKey[] =>
  'shredded' in stored ? [] : wrappedKeysOf(stored);
