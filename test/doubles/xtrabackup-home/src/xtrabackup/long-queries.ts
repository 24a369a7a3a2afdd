import { setTimeout as sleep } from 'node:timers/promises';
import { Exit, tell } from './console.ts';
import type { Options } from './options.ts';
import type { ServerConnection } from './server-connection.ts';

/** `--ftwrl-wait-timeout`: waits for queries that would hold up the lock. Throws `Exit` when time is up. */
export const waitForQueries = async (options: Options, connection: ServerConnection): Promise<void> => {
  const timeout = Number(options.get('ftwrl-wait-timeout') ?? 0);
  if (timeout === 0) return;
  const threshold = Number(options.get('ftwrl-wait-threshold') ?? 60);
  tell.timed(`Waiting ${timeout} seconds for queries running longer than ${threshold} seconds to finish`);
  for (let waited = 0; waited <= timeout; waited++) {
    const rows = await connection.query('SHOW FULL PROCESSLIST');
    const blocking = rows.find(
      (row) => row.Info && Number(row.Time) >= threshold && !/^show full processlist/i.test(row.Info),
    );
    if (!blocking) return;
    tell.timed(`Waiting for query ${blocking.Id} (duration ${blocking.Time} sec): ${blocking.Info}`);
    await sleep(1000);
  }
  tell.timed('Unable to obtain lock. Please try again later.');
  throw new Exit(1);
};
