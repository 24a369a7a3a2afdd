import { z } from 'zod';
import { chainIdSchema, clusterIdSchema, runIdSchema } from './ids.ts';
import { shreddingSchema } from './wrapped-key.ts';

const kmsKeySchema = z
  .string()
  .regex(/^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key\/[A-Za-z0-9-]+$/, 'the ARN of a KMS key');

/** What `rewrap-keys` is asked. It does a bounded part and says where to go on: `after` is the `next` of its last answer. */
export const rewrapRequestSchema = z.strictObject({
  cluster: clusterIdSchema,
  /** Every chain of the cluster, where none is named. */
  chain: chainIdSchema.optional(),
  /** The key of the control plane, where none is named. */
  to: kmsKeySchema.optional(),
  /** Only looks, unless it is set. */
  execute: z.boolean().default(false),
  after: chainIdSchema.optional(),
});
export type RewrapRequest = Readonly<z.output<typeof rewrapRequestSchema>>;

export const rewrappedChainSchema = z.object({
  chain: chainIdSchema,
  /**
   * `current`: everything was under the key already. `stale`: something is not, and nothing was changed. `rewrapped`: now
   * everything is. `shredded`: there are no keys.
   */
  state: z.enum(['current', 'stale', 'rewrapped', 'shredded']),
  /** The other KMS keys that hold it, or held it before. */
  from: z.array(z.string()).readonly(),
  manifests: z.number().int().nonnegative(),
  /** How many of them were under another key. */
  stale: z.number().int().nonnegative(),
  /** Manifests that cannot be read, and so were left as they are. */
  unreadable: z.array(z.string()).readonly(),
});
export type RewrappedChain = Readonly<z.output<typeof rewrappedChainSchema>>;

export const rewrapAnswerSchema = z.object({
  to: kmsKeySchema,
  executed: z.boolean(),
  chains: z.array(rewrappedChainSchema).readonly(),
  /** There are more chains, after this one. */
  next: chainIdSchema.optional(),
  /** A run that may still write a manifest with the keys that it was given before. */
  busy: runIdSchema.optional(),
});
export type RewrapAnswer = Readonly<z.output<typeof rewrapAnswerSchema>>;

/** What `shred-keys` is asked. */
export const shredRequestSchema = z.strictObject({
  cluster: clusterIdSchema,
  chain: chainIdSchema,
  /** The chain's id, typed again. */
  confirm: z.string().optional(),
  /** Although nothing of the cluster can be restored then. */
  last: z.boolean().default(false),
  by: z.string().min(1).max(200),
  reason: z.string().max(200).optional(),
});
export type ShredRequest = Readonly<z.output<typeof shredRequestSchema>>;

export const shredAnswerSchema = z.object({
  chain: chainIdSchema,
  shredded: shreddingSchema,
  /** Backups that can no longer be opened. */
  backups: z.number().int().nonnegative(),
  /** What this call removed: keys from manifests, older versions of manifests, instructions with keys in them. */
  manifests: z.number().int().nonnegative(),
  versions: z.number().int().nonnegative(),
  instructions: z.number().int().nonnegative(),
});
export type ShredAnswer = Readonly<z.output<typeof shredAnswerSchema>>;
