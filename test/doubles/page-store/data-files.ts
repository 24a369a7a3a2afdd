import { readdirSync } from 'node:fs';
import { join } from 'node:path';

export const SYSTEM_FILE = 'ibdata1';

/** Paths of the tablespace files in a data directory, relative, the system tablespace left out. */
export const tablespaceFiles = (directory: string, suffix = '.ibd'): readonly string[] =>
  readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) =>
      readdirSync(join(directory, name))
        .filter((file) => file.endsWith(suffix))
        .map((file) => `${name}/${file}`),
    );
