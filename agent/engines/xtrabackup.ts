import { RedoubtError } from '#core/errors.ts';
import { clientOptions } from './client-options.ts';
import { compareVersions } from './compare-versions.ts';
import type { Engine } from './engine.ts';
import { judge } from './judge.ts';
import { programPath, readVersion } from './program.ts';
import { seriesOf } from './xtrabackup-series.ts';

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
  checkSuits: (version, facts) => {
    const { flavour, series } = facts.identity;
    if (flavour === 'mariadb')
      throw new RedoubtError('EngineUnsuited', `MariaDB ${facts.version} needs mariadb-backup, not XtraBackup`);
    const known = seriesOf(version.series);
    if (!known.servers.includes(series))
      throw new RedoubtError(
        'EngineUnsuited',
        `XtraBackup ${version.version} backs up ${known.servers.join(', ')}; the server is ${facts.version}`,
      );
    if (
      known.followsServerUntil !== undefined &&
      compareVersions(version.version, known.followsServerUntil) < 0 &&
      compareVersions(version.version, facts.version) < 0
    )
      throw new RedoubtError(
        'EngineUnsuited',
        `XtraBackup ${version.version} is older than the server, ${facts.version}; before ${known.followsServerUntil} it must not be`,
      );
  },
  backupCommand: (version, request) => ({
    program: programPath(PROGRAM, request.engineDirectory),
    optionFile: clientOptions({ ...request.credentials, socket: request.server.socket }),
    args: [
      '--backup',
      '--stream=xbstream',
      // In no option file: the one directory that was checked against the server's.
      `--datadir=${request.facts.identity.dataDirectory}`,
      `--target-dir=${request.scratchDirectory}`,
      `--tmpdir=${request.scratchDirectory}`,
      `--extra-lsndir=${request.lsnDirectory}`,
      `--parallel=${request.limits.parallel}`,
      ...seriesOf(version.series).backup,
      ...(request.fromLsn === 0n ? [] : [`--incremental-lsn=${request.fromLsn}`]),
      ...(request.limits.engineThrottle === undefined ? [] : [`--throttle=${request.limits.engineThrottle}`]),
    ],
  }),
  // Never an option file: once it knows its target, XtraBackup reads that directory's backup-my.cnf and nothing else.
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
