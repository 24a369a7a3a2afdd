/** A path as streams, file lists and servers write it (`./app/t.ibd`, `.//undo001`), without what leads to the data directory. */
export const relativePath = (path: string): string => path.replace(/^(\.?\/+)+/, '').replace(/\/{2,}/g, '/');

const FORMS: readonly (readonly [RegExp, string])[] = [
  // Encrypted by the engine.
  [/\.xbcrypt$/, ''],
  // Increments.
  [/\.delta$/, ''],
  // A table mariadb-backup 10.11 sees created while it copies: `t.new`; XtraBackup 8.4: `t.ibd.new`.
  [/\.ibd\.new$/, '.ibd'],
  [/\.new$/, '.ibd'],
];

/**
 * The tablespace whose content a file of a backup is: `app/t.ibd` for `./app/t.ibd`, `app/t.ibd.delta`, `app/t.new`; any other
 * path is returned as it is, relative.
 */
export const tablespaceOfFile = (path: string): string =>
  FORMS.reduce((name, [form, replacement]) => name.replace(form, replacement), relativePath(path));
