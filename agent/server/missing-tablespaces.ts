import type { ServerFacts, Tablespace } from './server-facts.ts';
import { tablespaceOfFile } from './tablespace-path.ts';

type Seen = Pick<ServerFacts, 'tablespaces'>;

/** `ALTER TABLE` works in tables of such names; they come and go, and no backup needs them. */
const INTERMEDIATE = /(^|\/)#sql/;

/**
 * The tablespaces the server has had all the time and whose file is not among `files`, the paths of a backup's inventory. A table
 * counts as the same while its space or its name stays: it may be found under its old name (renamed while it was copied) or its
 * new one (rebuilt, truncated). A table that only exists since the backup began is not asked for: redo recreates it, or it came after.
 */
export const missingTablespaces = (before: Seen, after: Seen, files: Iterable<string>): readonly Tablespace[] => {
  const found = new Set(Array.from(files, tablespaceOfFile));
  const pathBefore = new Map(before.tablespaces.map(({ spaceId, path }) => [spaceId, path]));
  const pathsBefore = new Set(pathBefore.values());
  return after.tablespaces.filter(({ path, spaceId }) => {
    if (INTERMEDIATE.test(path) || found.has(path)) return false;
    const old = pathBefore.get(spaceId);
    if (old === undefined && !pathsBefore.has(path)) return false;
    return old === undefined || INTERMEDIATE.test(old) || !found.has(old);
  });
};
