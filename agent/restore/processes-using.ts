import { readdir, readFile, readlink } from 'node:fs/promises';

export interface ProcessUsing {
  readonly pid: number;
  readonly name: string;
  /** It is a database server: by its name, or because it has the system tablespace open. */
  readonly isServer: boolean;
  /** What it has open there, and where it works; the name of what was deleted ends in ` (deleted)`. */
  readonly files: readonly string[];
}

const SERVER_NAME = /^(mysqld|mariadbd)/;
const SYSTEM_TABLESPACE = /\/ibdata1( \(deleted\))?$/;

const readLink = (path: string): Promise<string> => readlink(path).catch(() => '');

/**
 * The processes, other than this one, that have a file below `directory` (a real path) open or work in a directory below it: a server
 * on a data directory, an engine in a staging directory. Deleted files count: a server whose files were removed under it still
 * runs. Needs root to see all.
 */
export const processesUsing = async (directory: string): Promise<readonly ProcessUsing[]> => {
  const inside = directory.endsWith('/') ? directory : `${directory}/`;
  const found: ProcessUsing[] = [];
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
    const links = await Promise.all(
      ['cwd', ...descriptors.map((descriptor) => `fd/${descriptor}`)].map((link) => readLink(`/proc/${pid}/${link}`)),
    );
    const files = links.filter((link) => link.startsWith(inside));
    if (files.length === 0) continue;
    const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '?')).trim();
    found.push({
      pid,
      name,
      isServer: SERVER_NAME.test(name) || files.some((file) => SYSTEM_TABLESPACE.test(file)),
      files,
    });
  }
  return found;
};
