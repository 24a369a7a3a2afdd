import { type RunId, runIdSchema } from '#core/ids.ts';

/** One grant an attempt: the name makes creating it repeatable, and finds it where a crash left no record of it. */
export const grantName = (run: RunId, attempt: number): string => `redoubt-${run}-${attempt}`;

/** The run that `grantName` made this name for, if it did. */
export const runOfGrant = (name: string): RunId | undefined =>
  runIdSchema.safeParse(/^redoubt-(.+)-\d+$/.exec(name)?.[1]).data;
