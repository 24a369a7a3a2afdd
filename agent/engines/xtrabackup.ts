import type { EngineOptions } from '#core/engine-options.ts';
import { RedoubtError } from '#core/errors.ts';
import { clientOptions, toolOptions } from './client-options.ts';
import { compareVersions } from './compare-versions.ts';
import type { Engine, EngineVersion } from './engine.ts';
import { historyArguments } from './history-arguments.ts';
import { judge } from './judge.ts';
import { optionArguments } from './option-arguments.ts';
import { outputOf, programPath, readVersion } from './program.ts';
import { checkXtrabackupEncryption } from './xtrabackup-encryption.ts';
import { keyringAtBackup, keyringAtPrepare, keyringOptions, pluginDirectory } from './xtrabackup-keyring.ts';
import { seriesOf } from './xtrabackup-series.ts';

const PROGRAM = 'xtrabackup';

const xtrabackupOptions = (version: EngineVersion, options: EngineOptions): readonly string[] =>
  optionArguments(PROGRAM, version, seriesOf(version.series).options, options);

export const xtrabackup: Engine = {
  name: 'xtrabackup',
  metadataFiles: {
    checkpoints: ['xtrabackup_checkpoints'],
    info: ['xtrabackup_info'],
    binlog: ['xtrabackup_binlog_info'],
  },
  version: async (engineDirectory) => {
    const program = programPath(PROGRAM, engineDirectory);
    const version = await readVersion(program, /xtrabackup version (\d+\.\d+\.\d+(?:-\d+)?)/);
    // As the project's own tests ask: only some builds have it, and 8.x refuses an option that is unknown to it.
    return { ...version, checksForUpdates: (await outputOf(program, '--help')).includes('--no-version-check') };
  },
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
  checkEncryption: checkXtrabackupEncryption,
  checkOptions: (version, options) => void xtrabackupOptions(version, options),
  missesUnwritten: ({ version, series }) => {
    const { missesUnwrittenUntil } = seriesOf(series);
    return missesUnwrittenUntil !== undefined && compareVersions(version, missesUnwrittenUntil) < 0;
  },
  backupCommand: (version, request) => {
    const { keyring, native } = request;
    const known = seriesOf(version.series);
    return {
      program: programPath(PROGRAM, request.engineDirectory),
      optionFile: [
        clientOptions({ ...request.credentials, socket: request.server.socket }),
        ...(keyring?.passphrase === undefined ? [] : [toolOptions({ 'transition-key': keyring.passphrase })]),
      ].join('\n'),
      args: [
        '--backup',
        '--stream=xbstream',
        // In no option file: the one directory that was checked against the server's.
        `--datadir=${request.facts.identity.dataDirectory}`,
        `--target-dir=${request.scratchDirectory}`,
        `--tmpdir=${request.scratchDirectory}`,
        `--extra-lsndir=${request.lsnDirectory}`,
        `--parallel=${request.limits.parallel}`,
        // Else a build that checks for updates starts perl, with the password in its environment.
        ...(version.checksForUpdates || known.ignoresUnknownOptions ? ['--no-version-check'] : []),
        ...xtrabackupOptions(version, request.options),
        ...(keyring === undefined ? [] : keyringAtBackup(version, request.facts, keyring)),
        ...(native === undefined
          ? []
          : [
              `--encrypt=${native.algorithm}`,
              `--encrypt-key-file=${native.keyFile}`,
              `--encrypt-threads=${native.threads}`,
            ]),
        ...historyArguments(request),
        ...(request.limits.engineThrottle === undefined ? [] : [`--throttle=${request.limits.engineThrottle}`]),
      ],
    };
  },
  prepareCommands: (version, request) => {
    const { keyring } = request;
    const common = [
      '--prepare',
      ...(request.last ? [] : ['--apply-log-only']),
      ...(request.incrementDirectory === undefined ? [] : [`--incremental-dir=${request.incrementDirectory}`]),
      `--use-memory=${request.memoryBytes}`,
    ];
    const program = programPath(PROGRAM, request.engineDirectory);
    if (keyring?.passphrase !== undefined)
      // A target on the command line makes it read that directory's backup-my.cnf and no other option file. With the target in the option
      // file it reads that one: so the passphrase, and with it the base's own options, stay on tmpfs.
      return [
        {
          program,
          optionFile: [
            keyring.baseOptions,
            toolOptions({ 'target-dir': request.baseDirectory, 'transition-key': keyring.passphrase }),
          ].join('\n'),
          args: [...common, ...pluginDirectory(version, keyring)],
        },
      ];
    return [
      {
        program,
        args: [
          ...common,
          `--target-dir=${request.baseDirectory}`,
          ...(keyring === undefined ? [] : keyringAtPrepare(version, keyring)),
        ],
      },
    ];
  },
  decryptCommand: (_version, { directory, native, engineDirectory }) => ({
    program: programPath(PROGRAM, engineDirectory),
    // Nothing but what stands here: the host's option files may name another key.
    optionFile: '[xtrabackup]\n',
    args: [
      `--decrypt=${native.algorithm}`,
      // A file, always: 2.4 puts a key given in any other way on the command line of the shell it starts for every file.
      `--encrypt-key-file=${native.keyFile}`,
      `--parallel=${native.threads}`,
      `--target-dir=${directory}`,
    ],
    // It starts xbcrypt by its name.
    ...(engineDirectory === undefined ? {} : { env: { PATH: `${engineDirectory}:${process.env.PATH ?? ''}` } }),
  }),
  rekeyCommand: (version, { preparedDirectory, dataDirectory, keyring, engineDirectory }) => {
    const { plugin } = keyringOptions(version, keyring.kind);
    return {
      program: programPath(PROGRAM, engineDirectory),
      // The plugin is what it would find in the server's own option file.
      optionFile: [
        ...(plugin === undefined ? [] : [`[mysqld]\nearly-plugin-load=${plugin}\n`]),
        toolOptions(keyring.passphrase === undefined ? {} : { 'transition-key': keyring.passphrase }),
      ].join('\n'),
      args: [
        '--move-back',
        '--generate-new-master-key',
        `--target-dir=${preparedDirectory}`,
        `--datadir=${dataDirectory}`,
        ...keyringAtPrepare(version, keyring),
      ],
    };
  },
  judge,
  // `--lock-ddl` is on by default since 8.0.23: `LOCK INSTANCE FOR BACKUP`.
  streamsCreatedTables: ({ version }) => compareVersions(version, '8.0.23') >= 0,
  preparedType: (last) => (last ? 'full-prepared' : 'log-applied'),
};
