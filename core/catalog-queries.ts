import { z } from 'zod';
import { progressSchema } from './agent-protocol.ts';
import {
  backupRecordSchema,
  chainHeadSchema,
  chainRecordSchema,
  plannedRunSchema,
  unplannedRunSchema,
} from './catalog-records.ts';
import { clusterConfigSchema } from './cluster-config.ts';
import { clusterIdSchema, runIdSchema } from './ids.ts';
import { shreddingSchema } from './wrapped-key.ts';

/** What may be asked of the catalog. The answers below are in the wire's form: LSNs are decimal strings. */
export const catalogQuerySchema = z.discriminatedUnion('query', [
  z.strictObject({ query: z.literal('clusters') }),
  z.strictObject({ query: z.literal('cluster'), cluster: clusterIdSchema }),
  z.strictObject({ query: z.literal('backups'), cluster: clusterIdSchema }),
  /** Newest first; of every cluster where none is named. */
  z.strictObject({
    query: z.literal('runs'),
    cluster: clusterIdSchema.optional(),
    limit: z.number().int().min(1).max(500).default(50),
  }),
  z.strictObject({ query: z.literal('run'), run: runIdSchema }),
]);
export type CatalogQuery = z.output<typeof catalogQuerySchema>;

/** A run as an operator needs to see it. */
export const shownRunSchema = z.union([plannedRunSchema.omit({ grants: true, lent: true }), unplannedRunSchema]);
export type ShownRun = Readonly<z.output<typeof shownRunSchema>>;

/** A chain as an operator needs to see it: no wrapped key leaves the catalog. */
export const shownChainSchema = chainRecordSchema.omit({ keys: true }).extend({ shredded: shreddingSchema.optional() });
export type ShownChain = Readonly<z.output<typeof shownChainSchema>>;

export const catalogAnswerSchemas = {
  clusters: z.object({
    clusters: z.array(z.object({ config: clusterConfigSchema, latest: backupRecordSchema.optional() })).readonly(),
  }),
  cluster: z.object({
    config: clusterConfigSchema,
    /** The chain the next increment would continue. */
    head: chainHeadSchema.optional(),
    latest: backupRecordSchema.optional(),
    /** The run that holds the cluster now. */
    holder: runIdSchema.optional(),
  }),
  /** In the order of the chains' ids and, in a chain, of `seq`. */
  backups: z.object({
    chains: z.array(shownChainSchema).readonly(),
    backups: z.array(backupRecordSchema).readonly(),
  }),
  runs: z.object({ runs: z.array(shownRunSchema).readonly() }),
  run: z.object({ run: shownRunSchema, progress: progressSchema.optional() }),
} as const;
export type CatalogAnswer<Q extends keyof typeof catalogAnswerSchemas> = z.output<(typeof catalogAnswerSchemas)[Q]>;

/** What `apply-cluster` is asked: `file` is the YAML text, so that problems can be named with their line. */
export const applyClusterRequestSchema = z.strictObject({ file: z.string(), dryRun: z.boolean().default(false) });

/** What applying a cluster file did, or with `dryRun` would do. */
export const applyClusterAnswerSchema = z.object({
  config: clusterConfigSchema,
  /** The name of its schedule, where the policy has one. */
  schedule: z.string().optional(),
  /** One line for each difference to what was applied before; empty when nothing changes. */
  changes: z.array(z.string()).readonly(),
});
export type ApplyClusterAnswer = z.output<typeof applyClusterAnswerSchema>;
