import { clientOptions } from './client-options.ts';
import type { Engine } from './engine.ts';
import { judge } from './judge.ts';
import { programPath, readVersion } from './program.ts';

const PROGRAM = 'xtrabackup';

export const xtrabackup: Engine = {
  name: 'xtrabackup',
  metadataFiles: {
    checkpoints: ['xtrabackup_checkpoints'],
    info: ['xtrabackup_info'],
    binlog: ['xtrabackup_binlog_info'],
  },
  version: (engineDirectory) =>
    readVersion(programPath(PROGRAM, engineDirectory), /xtrabackup version (\d+\.\d+\.\d+(?:-\d+)?)/),
  checkSuits: () => {},
  backupCommand: (_version, request) => ({
    program: programPath(PROGRAM, request.engineDirectory),
    optionFile: clientOptions({ ...request.credentials, socket: request.server.socket }),
    args: [
      '--backup',
      '--stream=xbstream',
      `--target-dir=${request.scratchDirectory}`,
      `--extra-lsndir=${request.lsnDirectory}`,
      `--parallel=${request.limits.parallel}`,
      ...(request.fromLsn === 0n ? [] : [`--incremental-lsn=${request.fromLsn}`]),
    ],
  }),
  prepareCommands: (_version, request) => [
    {
      program: programPath(PROGRAM, request.engineDirectory),
      args: [
        '--prepare',
        ...(request.last ? [] : ['--apply-log-only']),
        `--target-dir=${request.baseDirectory}`,
        ...(request.incrementDirectory === undefined ? [] : [`--incremental-dir=${request.incrementDirectory}`]),
        `--use-memory=${request.memoryBytes}`,
      ],
    },
  ],
  judge,
  preparedType: (last) => (last ? 'full-prepared' : 'log-applied'),
};
