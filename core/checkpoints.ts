import { z } from 'zod';
import { type Lsn, lsnSchema, parseLsn } from './lsn.ts';

/** What the engine left of the LSNs, from `xtrabackup_checkpoints` (`mariadb_backup_checkpoints` since 11.1). */
export const checkpointsSchema = z.object({
  type: z.enum(['full-backuped', 'incremental', 'log-applied', 'full-prepared']),
  fromLsn: lsnSchema,
  toLsn: lsnSchema,
  lastLsn: lsnSchema,
});
export type Checkpoints = Readonly<z.output<typeof checkpointsSchema>>;

const FIELDS = { backup_type: 'type', from_lsn: 'fromLsn', to_lsn: 'toLsn', last_lsn: 'lastLsn' } as const;

export type CheckpointsProblem = { readonly problem: string };

/**
 * Reads `key = value` lines. Unknown keys are accepted (`compact`, `flushed_lsn`, `redo_memory`, … differ by version); the
 * four known ones must be there once each and well formed. Recorded: `meta-*` of the 2.4.7 runs; mariadb-backup 10.11.
 */
export const parseCheckpoints = (text: string): Checkpoints | CheckpointsProblem => {
  const found = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^\s*(\w+)\s*=\s*(.*?)\s*$/.exec(line);
    if (!match?.[1] || match[2] === undefined || !(match[1] in FIELDS)) continue;
    if (found.has(match[1])) return { problem: `${match[1]} stands there twice` };
    found.set(match[1], match[2]);
  }
  const type = checkpointsSchema.shape.type.safeParse(found.get('backup_type'));
  if (!type.success) return { problem: `backup_type is ${found.get('backup_type') ?? 'missing'}` };
  const lsns: Partial<Record<'from_lsn' | 'to_lsn' | 'last_lsn', Lsn>> = {};
  for (const key of ['from_lsn', 'to_lsn', 'last_lsn'] as const) {
    const value = parseLsn(found.get(key) ?? '');
    if (value === undefined) return { problem: `${key} is ${found.get(key) ?? 'missing'}` };
    lsns[key] = value;
  }
  return {
    type: type.data,
    fromLsn: lsns.from_lsn as Lsn,
    toLsn: lsns.to_lsn as Lsn,
    lastLsn: lsns.last_lsn as Lsn,
  };
};

/** What must hold of the LSNs of a backup that asked for `fromLsn` (0 for a full); the first thing that does not, in words. */
export const checkpointsFault = (checkpoints: Checkpoints, fromLsn: Lsn): string | undefined => {
  const expected = fromLsn === 0n ? 'full-backuped' : 'incremental';
  if (checkpoints.type !== expected) return `backup_type is ${checkpoints.type}, not ${expected}`;
  if (checkpoints.fromLsn !== fromLsn) return `from_lsn is ${checkpoints.fromLsn}, asked for was ${fromLsn}`;
  if (checkpoints.toLsn < checkpoints.fromLsn)
    return `to_lsn ${checkpoints.toLsn} is below from_lsn ${checkpoints.fromLsn}`;
  if (checkpoints.lastLsn < checkpoints.toLsn)
    return `last_lsn ${checkpoints.lastLsn} is below to_lsn ${checkpoints.toLsn}`;
  return undefined;
};
