/** Paths as the stream names them, without a leading `./`. */
const plain = (path: string): string => path.replace(/^(\.\/)+/, '');

const withoutSuffix = (path: string, suffix: string): string | undefined =>
  path.endsWith(suffix) ? path.slice(0, -suffix.length) : undefined;

/** Renames recorded during the backup: the table a `.ren` file is named after, without a suffix, to the one it holds. */
export type Renames = ReadonlyMap<string, string>;

/** The `.ren` files of an inventory and the tables they are named after. */
export const renameFiles = (paths: Iterable<string>): ReadonlyMap<string, string> =>
  new Map(
    [...paths].flatMap((path) => {
      const table = withoutSuffix(plain(path), '.ren');
      return table === undefined ? [] : [[path, table]];
    }),
  );

/**
 * What must lie in the data directory after a backup of these files was applied: every tablespace and every file of a schema directory.
 *
 * An increment names every tablespace too, as `.delta` even where no page changed, so a table that is not in the increment was dropped. What was
 * done to tables while the backup was taken stands in files of its own. mariadb-backup (xtrabackup_prepare_func) treats them in this order:
 * `t.del` removes `t.ibd`, `t.ren` renames it to its content, `t.new` is a copy that takes the place of `t.ibd`. XtraBackup 8.4 writes `t.ibd.new`;
 * its files named after space ids come only with reduced locking, which Redoubt does not ask for.
 */
export const expectedFiles = (paths: Iterable<string>, renames: Renames): ReadonlySet<string> => {
  const expected = new Set<string>();
  const created: string[] = [];
  const dropped: string[] = [];
  for (const raw of paths) {
    const path = plain(raw);
    if (path.endsWith('.meta') || path.endsWith('.ren')) continue;
    const fresh = withoutSuffix(path, '.new') ?? withoutSuffix(path, '.new.delta');
    if (fresh !== undefined) {
      created.push(fresh.endsWith('.ibd') ? fresh : `${fresh}.ibd`);
      continue;
    }
    const gone = withoutSuffix(path, '.del');
    if (gone !== undefined) {
      dropped.push(`${gone}.ibd`);
      continue;
    }
    const changed = withoutSuffix(path, '.delta');
    // Of the files at the top only the tablespaces: the engine's own files there come and go.
    if (changed !== undefined || path.includes('/') || /^(ibdata\d|undo|.*\.(ibd|ibu)$)/.test(path))
      expected.add(changed ?? path);
  }
  for (const path of dropped) expected.delete(path);
  // First all old names, then all new ones: two tables may have exchanged theirs.
  const moved = [...renames].filter(([from]) => expected.delete(`${from}.ibd`));
  for (const [, to] of moved) expected.add(`${to}.ibd`);
  for (const path of created) expected.add(path);
  return expected;
};
