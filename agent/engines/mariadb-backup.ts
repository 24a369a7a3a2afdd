import { RedoubtError } from '#core/errors.ts';
import { clientOptions } from './client-options.ts';
import { compareVersions } from './compare-versions.ts';
import type { Engine } from './engine.ts';
import { judge } from './judge.ts';
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
  backupCommand: (_version, request) => ({
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
      ...(request.fromLsn === 0n ? [] : [`--incremental-lsn=${request.fromLsn}`]),
      ...(request.limits.engineThrottle === undefined ? [] : [`--throttle=${request.limits.engineThrottle}`]),
    ],
  }),
  // No option file: with one, it would not read the backup's own backup-my.cnf, which it needs.
  prepareCommands: (_version, request) => [
    {
      program: programPath(PROGRAM, request.engineDirectory),
      args: [
        '--prepare',
        `--target-dir=${request.baseDirectory}`,
        ...(request.incrementDirectory === undefined ? [] : [`--incremental-dir=${request.incrementDirectory}`]),
        `--use-memory=${request.memoryBytes}`,
      ],
    },
  ],
  judge,
  // Every prepare of MariaDB is one that increments can follow.
  preparedType: () => 'log-applied',
};
