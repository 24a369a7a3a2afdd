import { clientOptions } from './client-options.ts';
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
  checkSuits: () => {},
  backupCommand: (_version, request) => ({
    program: programPath(PROGRAM, request.engineDirectory),
    optionFile: clientOptions({ ...request.credentials, socket: request.server.socket }),
    args: [
      '--backup',
      '--stream=xbstream',
      `--target-dir=${request.scratchDirectory}`,
      `--tmpdir=${request.scratchDirectory}`,
      `--extra-lsndir=${request.lsnDirectory}`,
      `--parallel=${request.limits.parallel}`,
      ...(request.fromLsn === 0n ? [] : [`--incremental-lsn=${request.fromLsn}`]),
      ...(request.limits.engineThrottle === undefined ? [] : [`--throttle=${request.limits.engineThrottle}`]),
    ],
  }),
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
