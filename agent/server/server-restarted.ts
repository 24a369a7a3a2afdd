import type { ServerFacts } from './server-facts.ts';

type Run = Pick<ServerFacts, 'startedAt' | 'pid'>;

/** In words, why two probes did not see the same server process; `undefined` where they did. */
export const serverRestarted = (before: Run, after: Run): string | undefined => {
  if (before.pid !== undefined && after.pid !== undefined && before.pid !== after.pid)
    return `the server process was ${before.pid}, is ${after.pid}`;
  // Both are whole seconds of the same clock, taken in one statement each; rounding may differ by one.
  if (Math.abs(before.startedAt - after.startedAt) > 1)
    return `the server started ${new Date(after.startedAt * 1000).toISOString()}, not ${new Date(before.startedAt * 1000).toISOString()}`;
  return undefined;
};
