import { z } from 'zod';
import { absolutePathSchema } from './absolute-path.ts';
import { restoreModeSchema } from './agent-protocol.ts';
import { clusterIdSchema, instanceIdSchema } from './ids.ts';

/** The input of the state machine that backs a cluster up. */
export const backupRequestSchema = z.strictObject({
  cluster: clusterIdSchema,
  kind: z.enum(['auto', 'full', 'incremental']).default('auto'),
  /** The operator's own words; stored beside the reason of the decision. */
  reason: z.string().max(200).optional(),
});
export type BackupRequest = Readonly<z.output<typeof backupRequestSchema>>;

/** What to restore to; `"latest"` may stand for `{"kind": "latest"}`. */
export const restorePointSchema = z.preprocess(
  (value) => (value === 'latest' ? { kind: 'latest' } : value),
  z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('latest') }),
    z.strictObject({ kind: z.literal('backup'), backup: z.string() }),
    z.strictObject({ kind: z.literal('time'), time: z.iso.datetime({ offset: true }) }),
  ]),
);

/** The input of the state machine that restores a cluster. */
export const restoreRequestSchema = z.strictObject({
  cluster: clusterIdSchema,
  to: restorePointSchema.default({ kind: 'latest' }),
  target: z.strictObject({
    /** One of the cluster's hosts; the first where none is named. */
    instance: instanceIdSchema.optional(),
    mode: restoreModeSchema,
    directory: absolutePathSchema.optional(),
  }),
  /** The cluster's name, typed: what mode `replace` needs, unless somebody approves. */
  confirm: z.string().optional(),
  /** Whether somebody has to approve before the host is asked. */
  approval: z.boolean().default(false),
});
export type RestoreRequest = Readonly<z.output<typeof restoreRequestSchema>>;
