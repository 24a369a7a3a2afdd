import { RedoubtError } from '#core/errors.ts';
import { clientOptions } from './client-options.ts';
import { compareVersions } from './compare-versions.ts';
import type { Engine } from './engine.ts';
import { historyArguments } from './history-arguments.ts';
import { judge } from './judge.ts';
import { keyManagementOptions } from './key-management-options.ts';
import { mariadbOptions } from './mariadb-options.ts';
import { optionArguments } from './option-arguments.ts';
import { programPath, readVersion } from './program.ts';

const PROGRAM = 'mariadb-backup';

export const mariadbBackup: Engine = {
  name: 'mariadb-backup',
  // The new names are MariaDB 11.1's and later (MDEV-18931).
  metadataFiles: {
    checkpoints: ['mariadb_backup_checkpoints', 'xtrabackup_checkpoints'],
    info: ['mariadb_backup_info', 'xtrabackup_info'],
    binlog: ['mariadb_backup_binlog_info', 'xtrabackup_binlog_info'],
  },
  version: (engineDirectory) => readVersion(programPath(PROGRAM, engineDirectory), /MariaDB server (\d+\.\d+\.\d+)/),
  checkSuits: (version, facts) => {
    const { flavour, series } = facts.identity;
    if (flavour !== 'mariadb')
      throw new RedoubtError('EngineUnsuited', `${facts.version} is not MariaDB: it needs XtraBackup`);
    // The package of the server has its own mariadb-backup; it may be newer while the server waits for its restart.
    if (version.series !== series || compareVersions(version.version, facts.version) < 0)
      throw new RedoubtError(
        'EngineUnsuited',
        `mariadb-backup ${version.version} must be of the server's series, ${series}, and no older than it: ${facts.version}`,
      );
  },
  checkEncryption: (_version, { encryption, tablespaceEncryption }) => {
    if (encryption.mode !== 'sealed')
      throw new RedoubtError(
        'EncryptionUnsupported',
        `mariadb-backup cannot encrypt (${encryption.mode}): set encryption.mode to sealed, then the agent does`,
      );
    if (tablespaceEncryption !== undefined && tablespaceEncryption.kind !== 'file-key-management')
      throw new RedoubtError(
        'EncryptionUnsupported',
        `MariaDB has no ${tablespaceEncryption.kind}: its keys are a file-key-management or in a service mariadb-backup has no keyring for`,
      );
  },
  checkOptions: (version, options) => void optionArguments(PROGRAM, version, mariadbOptions, options),
  backupCommand: (version, request) => ({
    program: programPath(PROGRAM, request.engineDirectory),
    optionFile: clientOptions({ ...request.credentials, socket: request.server.socket }),
    args: [
      '--backup',
      '--stream=xbstream',
      `--datadir=${request.facts.identity.dataDirectory}`,
      `--target-dir=${request.scratchDirectory}`,
      `--tmpdir=${request.scratchDirectory}`,
      `--extra-lsndir=${request.lsnDirectory}`,
      `--parallel=${request.limits.parallel}`,
      ...historyArguments(request),
      ...optionArguments(PROGRAM, version, mariadbOptions, request.options),
      ...(request.limits.engineThrottle === undefined ? [] : [`--throttle=${request.limits.engineThrottle}`]),
    ],
  }),
  // No option file of ours: with one, it does not read the backup's own backup-my.cnf, which it needs. With a keyring its content is given
  // on tmpfs, with this backup's key file in it: the plugin's settings are taken from nowhere else (an option of the command line is unknown
  // to it, and so is --defaults-extra-file).
  prepareCommands: (_version, request) => [
    {
      program: programPath(PROGRAM, request.engineDirectory),
      ...(request.keyring === undefined ? {} : { optionFile: keyManagementOptions(request.keyring) }),
      args: [
        '--prepare',
        `--target-dir=${request.baseDirectory}`,
        ...(request.incrementDirectory === undefined ? [] : [`--incremental-dir=${request.incrementDirectory}`]),
        `--use-memory=${request.memoryBytes}`,
      ],
    },
  ],
  missesUnwritten: () => false,
  decryptCommand: () => {
    throw new RedoubtError(
      'EncryptionUnsupported',
      'mariadb-backup cannot decrypt: no backup of it is encrypted by it',
    );
  },
  rekeyCommand: () => {
    throw new RedoubtError('EncryptionUnsupported', 'MariaDB knows no transition key');
  },
  judge,
  streamsCreatedTables: () => true,
  // Every prepare of MariaDB is one that increments can follow.
  preparedType: () => 'log-applied',
};
