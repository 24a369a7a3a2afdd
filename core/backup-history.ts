import { z } from 'zod';
import type { Parent } from './agent-protocol.ts';
import type { Lsn } from './lsn.ts';

/** Whole in a command line, in a table and in a line `name = …`. */
const seriesName = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/, 'up to 64 letters, digits, dots, underscores and hyphens');

/** Whether the engine records each backup in the server's own table (`--history`), and increments are looked up there. */
export const historySchema = z.strictObject({
  /** The series the backups are recorded under; absent: the name of the cluster. */
  name: seriesName.optional(),
  /** `lsn`: the engine is given the parent's LSN. `name`, `uuid`: it finds it in the table, and that must be the parent's. */
  incrementBy: z.enum(['lsn', 'name', 'uuid']).default('lsn'),
});

/** The same with the name that applies. */
export const backupHistorySchema = historySchema.extend({ name: seriesName });
export type BackupHistory = Readonly<z.output<typeof backupHistorySchema>>;

/** What the engine finds the LSN of an increment by. */
export interface HistoryLookup {
  readonly by: 'name' | 'uuid';
  readonly value: string;
}

/** `undefined` where the engine is given the LSN itself. */
export const historyLookup = (history: BackupHistory | undefined, parent: Parent): HistoryLookup | undefined => {
  switch (history?.incrementBy) {
    case 'name':
      return { by: 'name', value: history.name };
    case 'uuid':
      // No record has an empty one.
      return { by: 'uuid', value: parent.engineUuid ?? '' };
    default:
      return undefined;
  }
};

/**
 * Why an increment must not be based on what the history says; `undefined` where it says the parent's `to_lsn`. The table can be edited, cut or
 * written to by another tool, and for a name the engine takes the highest LSN whosever it is.
 */
export const historyFault = (
  { by, value }: HistoryLookup,
  found: Lsn | undefined,
  parent: Pick<Parent, 'backup' | 'toLsn'>,
): string | undefined => {
  if (found === parent.toLsn) return undefined;
  const record = `the backup history of the server has ${found === undefined ? 'no LSN' : `LSN ${found}`} for ${by} ${value || '(none)'}`;
  return `${record}, the to_lsn of ${parent.backup} is ${parent.toLsn}`;
};
