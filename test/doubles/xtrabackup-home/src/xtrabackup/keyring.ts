import { MasterKeyring } from '../mysqld/master-keyring.ts';
import { tell } from './console.ts';

/** Loads a keyring_file as 2.4 does: whatever is wrong with it, it is only said. */
export const loadKeyringFile = (path: string | undefined, component = false): MasterKeyring => {
  const keyring = new MasterKeyring(path, component);
  if (path === undefined) return keyring;
  if (keyring.state === 'absent') tell.bare('Could not find keyring file.');
  else if (keyring.state === 'empty') tell.bare('Keyring file is empty.');
  else if (keyring.state === 'unusable')
    tell.bare(
      'keyring_file initialization failure. Please check if the keyring_file_data points to readable keyring file or keyring file can be created in the specified location. The keyring_file will stay unusable until correct path to the keyring file gets provided',
    );
  return keyring;
};
