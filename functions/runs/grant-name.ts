import type { RunId } from '#core/ids.ts';

/** One grant an attempt: the name makes creating it repeatable, and finds it where a crash left no record of it. */
export const grantName = (run: RunId, attempt: number): string => `redoubt-${run}-${attempt}`;
