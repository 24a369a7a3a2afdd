import type { z } from 'zod';
import { RedoubtError } from '#core/errors.ts';
import {
  backupIdSchema,
  type ChainId,
  type ClusterId,
  chainIdSchema,
  clusterIdSchema,
  type RunId,
  runIdSchema,
} from '#core/ids.ts';
import type { RestorePoint } from '#core/restore-plan.ts';

const parse = <Schema extends z.ZodType>(schema: Schema, text: string): z.output<Schema> => {
  const parsed = schema.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new RedoubtError('InvalidInput', `${text}: ${parsed.error.issues.map(({ message }) => message).join('; ')}`);
};

export const parseClusterId = (text: string): ClusterId => parse(clusterIdSchema, text);

export const parseChainId = (text: string): ChainId => parse(chainIdSchema, text);

export const parseRunId = (text: string): RunId => parse(runIdSchema, text);

// Without its zone a time would mean something else to another reader.
const zonedTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/;

/** `latest`, a backup id, or an ISO 8601 time with its zone. */
export const parseRestorePoint = (text: string): RestorePoint => {
  if (text === 'latest') return { kind: 'latest' };
  if (backupIdSchema.safeParse(text).success) return { kind: 'backup', backup: text };
  if (zonedTime.test(text) && !Number.isNaN(Date.parse(text)))
    return { kind: 'time', time: new Date(text).toISOString() };
  throw new RedoubtError(
    'InvalidInput',
    `--to ${text}: neither "latest", nor a backup id, nor a time with its zone such as 2026-11-22T05:12:00Z`,
  );
};
