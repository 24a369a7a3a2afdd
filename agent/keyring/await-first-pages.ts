import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RedoubtError } from '#core/errors.ts';
import type { RunContext } from '../commands/run-context.ts';
import type { ServerFacts, Tablespace } from '../server/server-facts.ts';
import { isFirstPageUnwritten } from './tablespace-keys.ts';

const LOOK_EVERY_MS = 250;

/**
 * Resolves once the first page of every encrypted tablespace of a MySQL is on the disk: an engine that goes by it leaves out a table that was just
 * created, and says OK. Throws `TablespaceUnwritten`, naming them, where some are not after `patienceMs`.
 */
export const awaitFirstPages = async (
  { identity: { dataDirectory, pageSize }, tablespaces }: ServerFacts,
  { signal, log }: Pick<RunContext, 'signal' | 'log'>,
  patienceMs: number,
): Promise<void> => {
  let waiting: readonly Tablespace[] = tablespaces.filter(({ encrypted, path }) => encrypted && path.endsWith('.ibd'));
  for (let waited = 0; ; waited += LOOK_EVERY_MS) {
    const unwritten: Tablespace[] = [];
    for (const tablespace of waiting)
      if (await isFirstPageUnwritten(join(dataDirectory, tablespace.path), pageSize)) unwritten.push(tablespace);
    if (unwritten.length === 0) return;
    const names = unwritten.slice(0, 10).map(({ name }) => name);
    const said = `the server has not written the first page of ${unwritten.length} encrypted tables yet: ${names.join(', ')}`;
    if (waited >= patienceMs) throw new RedoubtError('TablespaceUnwritten', said);
    if (waited === 0) log(`${said}; waiting`);
    waiting = unwritten;
    await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    signal.throwIfAborted();
  }
};
