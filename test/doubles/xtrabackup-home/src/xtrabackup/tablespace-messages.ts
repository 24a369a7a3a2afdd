import type { NotDecryptable } from '../../../page-store/tablespaces.ts';
import { toolVersion } from '../tool-version.ts';
import { tell } from './console.ts';

/** What InnoDB inside XtraBackup says of a file whose key it cannot open. */
export const tellNotDecryptable: NotDecryptable = (path, why) => {
  if (why === 'no-keyring') tell.innodb("Encryption can't find master key, please check the keyring plugin is loaded.");
  if (why === 'other-key')
    tell.innodb('Failed to decrpt encryption information, please check key file is not changed!');
  tell.innodb(
    toolVersion().modern
      ? `Encryption information in datafile: ./${path} can't be decrypted, please confirm that keyring is loaded.`
      : `Encryption information in datafile: ./${path} can't be decrypted , please confirm the keyfile is match and keyring plugin is loaded.`,
  );
};

/** A tablespace key in the redo that does not open. */
export const tellCorruptRecord = (space: number, before: number): void => {
  tell.innodb(`Encryption information in the redo log of space ${space} is invalid`);
  tell.innodb('############### CORRUPT LOG RECORD FOUND ##################');
  tell.innodb(
    `Log record type 30, page ${space}:0. Log parsing proceeded successfully up to ${before}. Previous log record type 56, is multi 0 Recv offset 9, prev 0`,
  );
  tell.innodb('Set innodb_force_recovery to ignore this error.');
};
