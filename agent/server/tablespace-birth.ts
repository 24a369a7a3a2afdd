import { readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';

const birthOf = (file: string): number | undefined => {
  const found = statSync(file, { throwIfNoEntry: false });
  return found === undefined || found.birthtimeMs === 0 ? undefined : found.birthtimeMs;
};

/** Where the `.isl` beside the place of a tablespace says that its file is; `undefined` where there is none. */
const linkedFile = (link: string): string | undefined => {
  try {
    return readFileSync(link, 'utf8').trim() || undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
};

/**
 * When the file of a tablespace was made, in milliseconds, by its path in a backup; `undefined` where that cannot be told. The file of a table with
 * `DATA DIRECTORY` lies elsewhere: where the `.isl` in the data directory points, which is made together with it. Where the
 * file cannot be looked at, the `.isl` is as old.
 */
export const tablespaceBirth = (dataDirectory: string, path: string): number | undefined => {
  const file = join(dataDirectory, path);
  const born = birthOf(file);
  if (born !== undefined) return born;
  const link = file.replace(/\.ibd$/, '.isl');
  if (link === file) return undefined;
  const elsewhere = linkedFile(link);
  if (elsewhere === undefined) return undefined;
  return birthOf(resolve(dataDirectory, elsewhere)) ?? birthOf(link);
};
