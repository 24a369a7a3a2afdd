import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The data file of component_keyring_file, where the data directory has its manifest and configuration. */
export const componentKeyringFile = (dataDirectory: string): string | undefined => {
  const configuration = join(dataDirectory, 'component_keyring_file.cnf');
  if (!existsSync(configuration)) return undefined;
  return (JSON.parse(readFileSync(configuration, 'utf8')) as { path?: string }).path;
};
