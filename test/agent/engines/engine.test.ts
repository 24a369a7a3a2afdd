import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compareVersions } from '#agent/engines/compare-versions.ts';
import { type BackupRequest, type EngineVersion, engineOf } from '#agent/engines/engine.ts';
import type { ServerFacts } from '#agent/server/server-facts.ts';
import { encryptionSchema, limitsSchema, serverConfigSchema } from '#core/cluster-config.ts';
import { engineOptionsSchema } from '#core/engine-options.ts';
import type { RedoubtError } from '#core/errors.ts';
import { lsn } from '#core/lsn.ts';

const SECRET = 'hunter2 "quoted"';

const facts = (flavour: 'mariadb' | 'mysql' | 'percona', version: string) =>
  ({
    version,
    identity: { flavour, series: /^\d+\.\d+/.exec(version)?.[0], dataDirectory: '/var/lib/mysql' },
  }) as ServerFacts;

const request = (changes: Partial<BackupRequest> = {}): BackupRequest => ({
  server: serverConfigSchema.parse({
    socket: '/run/mysqld/mysqld.sock',
    dataDirectory: '/var/lib/mysql',
    optionFile: '/etc/redoubt/client.cnf',
  }),
  facts: facts('mysql', '8.0.36'),
  credentials: { user: 'bk', password: SECRET },
  fromLsn: lsn(0n),
  limits: limitsSchema.parse({ parallel: 3 }),
  options: {},
  lsnDirectory: '/tmp/lsn',
  scratchDirectory: '/tmp/scratch',
  ...changes,
});

const version = (text: string): EngineVersion => ({
  version: text,
  series: /^\d+\.\d+/.exec(text)?.[0] ?? '',
});

const ENGINES = [
  ['mariadb-backup', version('10.11.19')],
  ['xtrabackup', version('2.4.7')],
  ['xtrabackup', version('8.0.35-30')],
  ['xtrabackup', version('8.4.0-6')],
  ['xtrabackup', version('9.7.1')],
] as const;

describe.each(ENGINES)('the commands of %s %o', (name, of) => {
  const engine = engineOf(name);
  const prepare = { baseDirectory: '/r/base', last: false, memoryBytes: 1_000_000 } as const;

  it('stream xbstream, connect by option file and never name a secret', () => {
    const command = engine.backupCommand(of, request());
    expect(command.program).toBe(name);
    expect(command.args).toEqual(
      expect.arrayContaining(['--backup', '--stream=xbstream', '--extra-lsndir=/tmp/lsn', '--parallel=3']),
    );
    expect(command.optionFile).toContain('password="hunter2 \\"quoted\\""');
    expect(command.optionFile).toContain('socket="/run/mysqld/mysqld.sock"');
    expect(JSON.stringify([command.args, command.env ?? {}])).not.toContain('hunter2');
  });

  it('name the data directory that was checked', () => {
    expect(engine.backupCommand(of, request()).args).toContain('--datadir=/var/lib/mysql');
  });

  it('ask for an increment only from an LSN', () => {
    const lsnOption = (from: bigint) =>
      engine.backupCommand(of, request({ fromLsn: lsn(from) })).args.filter((arg) => /incremental/.test(arg));
    // `--incremental-lsn=0` would be a full that calls itself an increment (recorded: 59e).
    expect(lsnOption(0n)).toEqual([]);
    expect(lsnOption(18446744073709551615n)).toEqual(['--incremental-lsn=18446744073709551615']);
  });

  it('record the backup, and find the LSN of an increment in one way only: an LSN would win over the others', () => {
    const options = (changes: Partial<BackupRequest>) =>
      engine.backupCommand(of, request(changes)).args.filter((arg) => /history|incremental/.test(arg));
    expect(options({ history: 'shop' })).toEqual(['--history=shop']);
    expect(options({ history: 'shop', fromLsn: lsn(7n) })).toEqual(['--history=shop', '--incremental-lsn=7']);
    for (const by of ['name', 'uuid'] as const)
      expect(options({ history: 'shop', fromLsn: lsn(7n), lookup: { by, value: 'x' } })).toEqual([
        '--history=shop',
        `--incremental-history-${by}=x`,
      ]);
  });

  it('throttle where the cluster file says so', () => {
    const throttle = (limits: object) =>
      engine
        .backupCommand(of, request({ limits: limitsSchema.parse(limits) }))
        .args.filter((arg) => /throttle/.test(arg));
    expect(throttle({})).toEqual([]);
    expect(throttle({ engineThrottle: 40 })).toEqual(['--throttle=40']);
  });

  it('run the program of the directory named', () => {
    expect(engine.backupCommand(of, request({ engineDirectory: '/opt/engine/bin' })).program).toBe(
      `/opt/engine/bin/${name}`,
    );
  });

  it('prepare without an option file: it would be ignored, or hide the backup’s own', () => {
    for (const command of engine.prepareCommands(of, prepare)) {
      expect(command.optionFile).toBeUndefined();
      expect(command.args).toEqual(
        expect.arrayContaining(['--prepare', '--target-dir=/r/base', '--use-memory=1000000']),
      );
    }
  });

  it('leave a base that increments can follow, until the last step', () => {
    const args = (last: boolean, incrementDirectory?: string) =>
      engine
        .prepareCommands(of, { ...prepare, last, ...(incrementDirectory ? { incrementDirectory } : {}) })
        .flatMap((command) => command.args);
    expect(args(false).includes('--apply-log-only')).toBe(name === 'xtrabackup');
    expect(args(true)).not.toContain('--apply-log-only');
    expect(args(true, '/r/inc1')).toContain('--incremental-dir=/r/inc1');
    expect(engine.preparedType(false)).toBe('log-applied');
    expect(engine.preparedType(true)).toBe(name === 'xtrabackup' ? 'full-prepared' : 'log-applied');
  });
});

describe('the options of a cluster file', () => {
  const every = engineOptionsSchema.parse({
    slaveInfo: true,
    galeraInfo: true,
    safeSlaveBackup: true,
    safeSlaveBackupTimeout: 60,
    ftwrlWaitTimeout: 30,
    ftwrlWaitThreshold: 10,
    ftwrlWaitQueryType: 'update',
    killLongQueriesTimeout: 20,
    killLongQueryType: 'select',
    lockDdl: false,
    lockDdlTimeout: 120,
    backupLockTimeout: 5,
    backupLockRetryCount: 3,
    registerRedoLogConsumer: true,
    redoLogArchDir: 'backup:a',
    pageTracking: true,
  });
  const ALL = [
    '--slave-info',
    '--galera-info',
    '--safe-slave-backup',
    '--safe-slave-backup-timeout=60',
    '--ftwrl-wait-timeout=30',
    '--ftwrl-wait-threshold=10',
    '--ftwrl-wait-query-type=update',
    '--kill-long-queries-timeout=20',
    '--kill-long-query-type=select',
    '--lock-ddl=OFF',
    '--lock-ddl-timeout=120',
    '--backup-lock-timeout=5',
    '--backup-lock-retry-count=3',
    '--register-redo-log-consumer',
    '--redo-log-arch-dir=backup:a',
    '--page-tracking',
  ];
  const REDO = ['registerRedoLogConsumer', 'redoLogArchDir', 'pageTracking'];

  it.each([
    ['mariadb-backup', '10.11.19', 9, []],
    ['xtrabackup', '2.4.7', 9, []],
    ['xtrabackup', '2.4.8', 11, []],
    ['xtrabackup', '2.4.29', 13, []],
    ['xtrabackup', '8.0.28-21', 13, REDO],
    ['xtrabackup', '8.0.30-23', 14, ['redoLogArchDir']],
    ['xtrabackup', '8.0.35-36', 16, []],
    ['xtrabackup', '8.4.0-1', 16, []],
    ['xtrabackup', '9.7.1', 16, []],
  ] as const)('%s %s knows %i (or more) of them, and refuses each other one by name', (name, tool, first, later) => {
    const engine = engineOf(name);
    const of = version(tool);
    for (const [index, [option, value]] of Object.entries(every).entries()) {
      const options = engineOptionsSchema.parse({ [option]: value });
      const known =
        index < first || (REDO.includes(option) && first > 13 && !(later as readonly string[]).includes(option));
      if (known) {
        engine.checkOptions(of, options);
        expect(engine.backupCommand(of, request({ options })).args).toContain(ALL[index]);
      } else
        expect(() => engine.checkOptions(of, options)).toThrow(
          expect.objectContaining({
            code: 'OptionUnsupported',
            detail: expect.stringContaining(`engineOptions.${option}: `),
          }),
        );
    }
  });

  it('that are switched off, or not there, are not passed on', () => {
    const options = engineOptionsSchema.parse({ slaveInfo: false, pageTracking: false });
    const args = engineOf('xtrabackup').backupCommand(version('8.4.0-6'), request({ options })).args;
    expect(args.filter((arg) => /slave|tracking/.test(arg))).toEqual([]);
  });
});

describe('a build of XtraBackup that checks for updates', () => {
  const of = (tool: string, checksForUpdates: boolean) =>
    engineOf('xtrabackup').backupCommand({ ...version(tool), checksForUpdates }, request()).args;

  it('is told not to: it would hand the password to perl', () => {
    expect(of('8.0.35-30', true)).toContain('--no-version-check');
    // 8.x refuses what it does not know; 2.4 ignores it.
    expect(of('8.0.35-30', false)).not.toContain('--no-version-check');
    expect(of('2.4.29', false)).toContain('--no-version-check');
  });
});

describe('native encryption', () => {
  it('needs the form of chunks that XtraBackup writes since 2.4.5', () => {
    const asked = { encryption: encryptionSchema.parse({ mode: 'native' }) };
    expect(() => engineOf('xtrabackup').checkEncryption(version('2.4.4'), asked)).toThrow(/needs XtraBackup 2\.4\.5/);
    engineOf('xtrabackup').checkEncryption(version('2.4.5'), asked);
    engineOf('xtrabackup').checkEncryption(version('8.4.0-1'), asked);
  });
});

const suits = (name: 'mariadb-backup' | 'xtrabackup', tool: string, server: ServerFacts): string => {
  try {
    engineOf(name).checkSuits(version(tool), server);
    return 'suits';
  } catch (error) {
    return (error as RedoubtError).code;
  }
};

// PXB-1763 and PXB-3571: with `--lock-ddl=REDUCED` tables and their keys were lost. It is not asked for, and no option file of the host is read.
describe('schema changes while XtraBackup copies', () => {
  it.each([
    ['2.4.7', false],
    ['2.4.29', false],
    ['8.0.22-15', false],
    ['8.0.35-30', true],
    ['8.4.0-6', true],
    ['9.7.1', true],
  ] as const)('%s: a table made meanwhile must be in the stream: %s', (tool, streamed) => {
    expect(engineOf('xtrabackup').streamsCreatedTables(version(tool))).toBe(streamed);
  });

  it.each(ENGINES)('%s %o is left its own lock, the one that loses nothing', (name, of) => {
    const { args, optionFile } = engineOf(name).backupCommand(of, request());
    expect(`${args.join(' ')} ${optionFile}`).not.toMatch(/lock[-_]ddl|no[-_](backup[-_])?lock/);
  });
});

// 2.4 ignores what it does not know (recorded: 73c).
describe('a misspelt option of XtraBackup', () => {
  const help = new URL('../../fixtures/xtrabackup-2.4.7-help/options.txt', import.meta.url);
  const known = new Set(readFileSync(help, 'utf8').split('\n'));
  const of = version('2.4.7');
  const keyring = { kind: 'keyring-file', path: '/k', transition: 'none' } as const;
  const native = { algorithm: 'AES256', keyFile: '/k', threads: 2 } as const;
  const engine = engineOf('xtrabackup');

  it('cannot be: every option is one that 2.4.7 lists in its help', () => {
    const limits = limitsSchema.parse({ engineThrottle: 4 });
    const commands = [
      engine.backupCommand(
        of,
        request({ facts: { ...facts('mysql', '5.7.12'), variables: {} }, fromLsn: lsn(1n), limits, keyring, native }),
      ),
      ...engine.prepareCommands(of, {
        baseDirectory: '/b',
        incrementDirectory: '/i',
        last: false,
        memoryBytes: 1,
        keyring: { ...keyring, baseOptions: '', stepOptions: '' },
      }),
      engine.decryptCommand(of, { directory: '/d', native }),
    ];
    const used = commands.flatMap(({ args, optionFile = '' }) => [
      ...args.map((arg) => arg.replace(/=.*/, '')),
      ...[...optionFile.matchAll(/^([\w-]+)=/gm)].map(([, name]) => `--${name}`),
    ]);
    expect(used.length).toBeGreaterThan(20);
    expect(used.filter((option) => !known.has(option))).toEqual([]);
  });
});

describe('an engine and a server', () => {
  it.each([
    ['mariadb-backup', '10.11.19', 'mariadb', '10.11.19-MariaDB-log', 'suits'],
    ['mariadb-backup', '10.11.19', 'mariadb', '10.11.6-MariaDB', 'suits'],
    ['mariadb-backup', '10.11.6', 'mariadb', '10.11.19-MariaDB', 'EngineUnsuited'],
    ['mariadb-backup', '10.11.19', 'mariadb', '11.4.2-MariaDB', 'EngineUnsuited'],
    ['mariadb-backup', '11.4.2', 'mariadb', '10.11.19-MariaDB', 'EngineUnsuited'],
    ['mariadb-backup', '10.11.19', 'mysql', '8.0.36', 'EngineUnsuited'],
    ['xtrabackup', '2.4.7', 'mysql', '5.7.13-log', 'suits'],
    ['xtrabackup', '2.4.29', 'percona', '5.6.51-91', 'suits'],
    ['xtrabackup', '2.4.29', 'mysql', '8.0.36', 'EngineUnsuited'],
    ['xtrabackup', '2.4.29', 'mariadb', '10.1.48-MariaDB', 'EngineUnsuited'],
    ['xtrabackup', '8.0.35-30', 'mysql', '8.0.41', 'suits'],
    ['xtrabackup', '8.0.32-26', 'mysql', '8.0.32', 'suits'],
    ['xtrabackup', '8.0.32-26', 'mysql', '8.0.33', 'EngineUnsuited'],
    ['xtrabackup', '8.0.35-30', 'mysql', '5.7.44', 'EngineUnsuited'],
    ['xtrabackup', '8.0.35-30', 'mysql', '8.4.0', 'EngineUnsuited'],
    ['xtrabackup', '8.4.0-6', 'percona', '8.4.5-5', 'suits'],
    ['xtrabackup', '9.7.1', 'mysql', '9.7.0', 'suits'],
    ['xtrabackup', '9.7.1', 'mysql', '9.6.0', 'EngineUnsuited'],
    ['xtrabackup', '10.0.0', 'mysql', '10.0.0', 'EngineUnsuited'],
  ] as const)('%s %s for %s %s: %s', (name, tool, flavour, server, verdict) => {
    expect(suits(name, tool, facts(flavour, server))).toBe(verdict);
  });
});

it.each([
  ['mariadb-backup', '10.11.19', false],
  ['xtrabackup', '2.4.7', true],
  ['xtrabackup', '2.4.20', true],
  ['xtrabackup', '2.4.21', false],
  ['xtrabackup', '8.0.14', true],
  ['xtrabackup', '8.0.22-15', false],
  ['xtrabackup', '8.4.0-6', false],
] as const)('%s %s leaves out what is not written yet: %s', (name, tool, misses) => {
  expect(engineOf(name).missesUnwritten(version(tool))).toBe(misses);
});

describe('the version of an engine', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'engine-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const saying = (name: 'mariadb-backup' | 'xtrabackup', script: string) => {
    writeFileSync(join(directory, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(directory, name), 0o755);
    return engineOf(name).version(directory);
  };

  it.each([
    [
      'mariadb-backup',
      'mariadb-backup based on MariaDB server 10.11.19-MariaDB debian-linux-gnu (x86_64)',
      '10.11.19',
      '10.11',
    ],
    // Recorded: 00-xtrabackup-version; 2.4 writes it to standard error.
    [
      'xtrabackup',
      'xtrabackup version 2.4.7 based on MySQL server 5.7.13 Linux (x86_64) (revision id: )',
      '2.4.7',
      '2.4',
    ],
    [
      'xtrabackup',
      'xtrabackup version 8.0.35-30 based on MySQL server 8.0.35 Linux (x86_64) (revision id: 6beb4b49)',
      '8.0.35-30',
      '8.0',
    ],
  ] as const)('%s is read from %j', async (name, line, text, series) => {
    expect(await saying(name, `echo '${line}' >&2`)).toMatchObject({ version: text, series });
    expect(await saying(name, `echo '${line}'`)).toMatchObject({ version: text, series });
  });

  it('comes with what its --help says of the check for updates', async () => {
    const line = 'xtrabackup version 8.4.0-6 based on MySQL server 8.4.8';
    const asked = (help: string) =>
      saying('xtrabackup', `case "$1" in --version) echo '${line}';; *) echo '${help}'; exit 1;; esac`);
    expect((await asked('  --no-version-check  This option')).checksForUpdates).toBe(true);
    expect((await asked('  --no-lock')).checksForUpdates).toBe(false);
  });

  it('is refused where the program is missing or is another one', async () => {
    await expect(engineOf('xtrabackup').version(join(directory, 'nowhere'))).rejects.toMatchObject({
      code: 'EngineMissing',
    });
    await expect(saying('mariadb-backup', 'echo mysqldump 8.0')).rejects.toMatchObject({ code: 'EngineUnsuited' });
  });
});

describe('comparing versions', () => {
  it('goes by number, place by place', () => {
    expect(compareVersions('10.11.9', '10.11.19-MariaDB')).toBeLessThan(0);
    expect(compareVersions('8.0.34-29', '8.0.34')).toBe(0);
    expect(compareVersions('8.4', '8.3.9')).toBeGreaterThan(0);
  });
});
