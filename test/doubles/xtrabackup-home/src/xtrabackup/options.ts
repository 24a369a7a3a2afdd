import { existsSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { type GivenOption, parseArgument, readOptionFile } from '../option-file.ts';
import { toolVersion } from '../tool-version.ts';
import { Exit, tell } from './console.ts';

const version = toolVersion();

const SHORT: Readonly<Record<string, string>> = {
  u: 'user',
  p: 'password',
  H: 'host',
  P: 'port',
  S: 'socket',
  h: 'datadir',
  t: 'tmpdir',
  v: 'version',
  '?': 'help',
};

/** Options that stand alone. */
const SWITCHES = [
  'backup',
  'prepare',
  'copy-back',
  'move-back',
  'stats',
  'export',
  'apply-log-only',
  'print-param',
  'version',
  'help',
  'no-defaults',
  'remove-original',
  'decompress',
  'no-lock',
  'no-backup-locks',
  'no-version-check',
  'version-check',
  'slave-info',
  'galera-info',
  'safe-slave-backup',
  'rsync',
  'force-non-empty-directories',
  'incremental-force-scan',
  'close-files',
  'generate-new-master-key',
  'generate-transition-key',
  'no-server-version-check',
  'strict',
  'page-tracking',
  'register-redo-log-consumer',
  'rollback-prepared-trx',
  'estimate-memory',
  'lock-ddl-per-table',
  'check-privileges',
  'check-tables',
  'ssl',
  'history',
  'compress',
  'transition-key',
  'stream',
  'lock-ddl',
  'dump-innodb-buffer-pool',
] as const;

/** Options that take a value, in one word or the next. */
const VALUES = [
  'target-dir',
  'defaults-file',
  'defaults-extra-file',
  'defaults-group',
  'defaults-group-suffix',
  'login-path',
  'user',
  'password',
  'host',
  'port',
  'socket',
  'datadir',
  'tmpdir',
  'plugin-dir',
  'parallel',
  'throttle',
  'use-memory',
  'log-copy-interval',
  'extra-lsndir',
  'incremental-lsn',
  'incremental-basedir',
  'incremental-dir',
  'incremental-history-name',
  'incremental-history-uuid',
  'tables',
  'tables-file',
  'tables-exclude',
  'databases',
  'databases-file',
  'databases-exclude',
  'encrypt',
  'encrypt-key',
  'encrypt-key-file',
  'encrypt-threads',
  'encrypt-chunk-size',
  'decrypt',
  'compress-threads',
  'compress-chunk-size',
  'compress-zstd-level',
  'decompress-threads',
  'keyring-file-data',
  'keyring-vault-config',
  'xtrabackup-plugin-dir',
  'component-keyring-config',
  'component-keyring-file-config',
  'server-id',
  'open-files-limit',
  'ftwrl-wait-timeout',
  'ftwrl-wait-threshold',
  'ftwrl-wait-query-type',
  'kill-long-queries-timeout',
  'kill-long-query-type',
  'safe-slave-backup-timeout',
  'binlog-info',
  'lock-ddl-timeout',
  'backup-lock-timeout',
  'backup-lock-retry-count',
  'read-buffer-size',
  'use-free-memory-pct',
  'page-tracking-merge-gap',
  'redo-log-arch-dir',
  'fifo-streams',
  'fifo-dir',
  'fifo-timeout',
  'debug-sleep-before-unlock',
  'ssl-mode',
  'ssl-ca',
  'ssl-cert',
  'ssl-key',
  'plugin-load',
  'early-plugin-load',
  'log-bin',
] as const;

const SWITCH_NAMES: ReadonlySet<string> = new Set(SWITCHES);
const KNOWN: ReadonlySet<string> = new Set<string>([...SWITCHES, ...VALUES]);
const ALGORITHMS = new Set(['NONE', 'AES128', 'AES192', 'AES256']);

const isKnown = (name: string): boolean =>
  KNOWN.has(name) || /^(innodb|skip-|disable-|enable-|loose-|ssl|character-set|tls)/.test(name);

export interface Options {
  /** Of the command line and the option files; the last one counts. */
  get(name: string): string | undefined;
  has(name: string): boolean;
  /** What an option file says of the data directory, where the command line does not. */
  readonly datadirSource: 'defaults file' | 'command line' | undefined;
  /** Names the tool does not know. */
  readonly unknown: readonly string[];
  readonly commandLine: readonly string[];
}

/** Reads the command line, and the option files this mode reads: with a target to prepare, only its own `backup-my.cnf`. */
export const readOptions = (args: readonly string[]): Options => {
  const given: GivenOption[] = [];
  const unknown: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const argument = args[at] as string;
    const long = parseArgument(argument);
    if (long) {
      if (/^defaults-(extra-)?file$/.test(long.name) && at > 0) {
        tell.raw(`xtrabackup: [ERROR] --${long.name} must be specified first on the command line`);
        throw new Exit(1);
      }
      if (long.value === undefined && KNOWN.has(long.name) && !SWITCH_NAMES.has(long.name))
        given.push({ name: long.name, value: args[++at] ?? '' });
      else given.push(long);
      if (!isKnown(long.name)) unknown.push(argument);
    } else if (/^-[a-zA-Z?]/.test(argument)) {
      const name = SHORT[argument[1] as string];
      if (name === undefined) unknown.push(argument);
      else if (SWITCH_NAMES.has(name)) given.push({ name, value: undefined });
      else given.push({ name, value: argument.length > 2 ? argument.slice(2) : (args[++at] ?? '') });
    } else unknown.push(argument);
  }
  const commandLine = new Map(given.map(({ name, value }) => [name, value ?? '']));

  const files = optionFiles(commandLine).flatMap((path): readonly GivenOption[] => {
    try {
      return readOptionFile(path, ['mysqld', 'xtrabackup', 'client', ...(version.modern ? ['mysqld-8.0'] : [])]);
    } catch {
      tell.raw(`xtrabackup: [ERROR] Could not open required defaults file: ${path}`);
      tell.raw('xtrabackup: [ERROR] Fatal error in defaults handling. Program aborted!');
      throw new Exit(1);
    }
  });
  const all = new Map<string, string>();
  for (const { name, value } of files) all.set(name, value ?? '');
  for (const [name, value] of commandLine) all.set(name, value);

  for (const name of ['encrypt', 'decrypt']) {
    const algorithm = all.get(name);
    if (algorithm !== undefined && !ALGORITHMS.has(algorithm)) {
      tell.raw(`xtrabackup: [ERROR] xtrabackup: Error while setting value '${algorithm}' to '${name}'`);
      throw new Exit(13);
    }
  }
  return {
    get: (name) => all.get(name),
    has: (name) => all.has(name) && !/^(off|0|false)$/i.test(all.get(name) ?? ''),
    datadirSource: commandLine.has('datadir') ? 'command line' : all.has('datadir') ? 'defaults file' : undefined,
    unknown,
    commandLine: args,
  };
};

const optionFiles = (commandLine: ReadonlyMap<string, string>): readonly string[] => {
  const target = commandLine.get('target-dir');
  if (commandLine.has('prepare') && target !== undefined) {
    const own = join(target, 'backup-my.cnf');
    return existsSync(own) ? [own] : [];
  }
  if (commandLine.has('no-defaults')) return [];
  const file = commandLine.get('defaults-file');
  if (file !== undefined) return [file];
  const extra = commandLine.get('defaults-extra-file');
  const global = ['/etc/my.cnf', '/etc/mysql/my.cnf', join(process.env.HOME ?? '/root', '.my.cnf')];
  return [...global.filter((path) => existsSync(path)), ...(extra === undefined ? [] : [extra])];
};

/** Absolute, with a slash at the end, as the tool prints directories. */
export const directoryOption = (options: Options, name: string): string | undefined => {
  const value = options.get(name);
  if (value === undefined || value === '') return undefined;
  const absolute = isAbsolute(value) ? value : resolve(value);
  return absolute.endsWith('/') ? absolute : `${absolute}/`;
};

const SECRETS = /^(--password|-p|--encrypt[-_]key|--transition[-_]key)/;

/** The command line as `xtrabackup_info` stores it: values of options that begin like a secret are replaced. */
export const recordedCommand = (args: readonly string[]): string =>
  args
    .map((argument) => {
      const secret = SECRETS.exec(argument);
      if (!secret) return argument;
      return argument.includes('=')
        ? `${secret[0]}=...`
        : argument.startsWith('-p') && !argument.startsWith('--')
          ? '-p...'
          : argument;
    })
    .join(' ');
