import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { MasterKeys } from '../../../page-store/encryption-info.ts';
import { toolVersion } from '../tool-version.ts';
import { Exit, tell } from './console.ts';
import { loadKeyringFile } from './keyring.ts';
import type { Options } from './options.ts';
import { TransitionKey } from './transition-key.ts';

const version = toolVersion();

const fail = (text: string): never => {
  tell.bare(text);
  throw new Exit(1);
};

/** The data file of the keyring component: by option, or as the backup's own configuration says. */
const componentFile = (options: Options, directory: string): string | undefined => {
  const given = options.get('component-keyring-config') ?? options.get('component-keyring-file-config');
  if (given !== undefined) {
    if (!/^component_keyring_\w+\.cnf$/.test(basename(given)) || !existsSync(given))
      fail(`Unable to read ${given} passed as --component-keyring-config parameter`);
  }
  const configuration = given ?? join(directory, 'component_keyring_file.cnf');
  if (!existsSync(configuration)) return undefined;
  const text = readFileSync(configuration, 'utf8');
  if (text.trim() === '') fail('Component configuration file is empty.');
  let parsed: { path?: unknown };
  try {
    parsed = JSON.parse(text) as { path?: unknown };
  } catch {
    return fail('Component configuration file is not a valid JSON.');
  }
  if (typeof parsed.path !== 'string') return fail('Component configuration does not have path member.');
  return parsed.path;
};

/** The keys a prepare step works with; the passphrase of a transition key stands for every keyring. Throws `Exit`. */
export const prepareKeys = (options: Options, directory: string): MasterKeys => {
  const passphrase = options.get('transition-key');
  const keysFile = join(directory, 'xtrabackup_keys');
  const transitions = version.atLeast('2.4.11');
  if (transitions && passphrase !== undefined) {
    if (!existsSync(keysFile)) fail('--transition-key specified, but xtrabackup_keys is not found.');
    return withDirectKeys(loadKeyringFile(undefined), keysFile, passphrase);
  }
  const file = version.modern
    ? (componentFile(options, directory) ?? (version.atLeast('8.4.0') ? undefined : options.get('keyring-file-data')))
    : options.get('keyring-file-data');
  const keyring = loadKeyringFile(file);
  if (version.modern && file !== undefined && (keyring.state === 'unusable' || keyring.state === 'absent'))
    fail('failed to init keyring component');
  if (transitions && existsSync(keysFile)) return withDirectKeys(keyring, keysFile, undefined);
  return keyring;
};

const withDirectKeys = (
  keyring: ReturnType<typeof loadKeyringFile>,
  path: string,
  passphrase: string | undefined,
): MasterKeys => {
  const keys = TransitionKey.open(readFileSync(path), passphrase, keyring);
  return { size: keyring.size + keys.size, get: (name) => keyring.get(name), direct: (space) => keys.get(space) };
};
