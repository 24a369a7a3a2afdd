import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { engineHome, isStandIn, type Program, programPath, versionOf } from '#test/contract/xtrabackup/engine-home.ts';

// `npm run test:engine`: every test that drives an XtraBackup, on the installation that REDOUBT_XTRABACKUP_HOME names.

const PROGRAMS: readonly Program[] = ['xtrabackup', 'xbstream', 'xbcrypt', 'mysqld', 'mysql', 'mysqladmin'];

/** Contract suites that state what 2.4 does; the others ask the installation what it is. */
const OF_2_4 = ['backup', 'copy-back', 'disk-full', 'prepare', 'stream'].map(
  (name) => `test/contract/xtrabackup/${name}.test.ts`,
);

const fail = (...lines: readonly string[]): never => {
  console.error(lines.join('\n'));
  process.exit(2);
};

const standInWanted = process.argv.includes('--stand-in');
if (isStandIn && !standInWanted)
  fail(
    'REDOUBT_XTRABACKUP_HOME names no installation of XtraBackup and MySQL, so there is no real engine to test. Type',
    '',
    '  REDOUBT_XTRABACKUP_HOME=/opt/percona npm run test:engine',
    '',
    `with a directory that has bin/{${PROGRAMS.join(',')}}, lib/plugin/keyring_file.so and share/.`,
    'npm test runs the same tests on a stand-in; npm run test:engine -- --stand-in runs them alone.',
  );
if (!isStandIn) {
  if (standInWanted) fail('--stand-in and REDOUBT_XTRABACKUP_HOME: which of the two is to be tested?');
  if (!engineHome.startsWith('/')) fail(`REDOUBT_XTRABACKUP_HOME=${engineHome} is not an absolute path`);
  const missing = [
    ...PROGRAMS.map(programPath),
    ...['lib/plugin/keyring_file.so', 'share'].map((name) => join(engineHome, name)),
  ].filter((path) => !existsSync(path));
  if (missing.length > 0) fail('REDOUBT_XTRABACKUP_HOME names no whole installation; these are missing:', ...missing);
}

const version = versionOf('xtrabackup');
const excluded = version.startsWith('2.4.') ? [] : OF_2_4;
const installation = isStandIn
  ? `the stand-in for XtraBackup ${version} and MySQL ${versionOf('mysqld')} (test/doubles/xtrabackup-home); no real engine was asked`
  : `XtraBackup ${version} and MySQL ${versionOf('mysqld')} in ${engineHome}`;
console.log(`Testing ${installation}.`);
const tests = spawn(
  process.execPath,
  [
    join(import.meta.dirname, '../../scripts/run-tests.ts'),
    '--project=local',
    '--project=e2e',
    ...excluded.map((file) => `--exclude=${file}`),
    'test/contract/xtrabackup/',
    'xtrabackup.test.ts',
  ],
  { stdio: 'inherit' },
);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => tests.kill(signal));
const [exit] = (await once(tests, 'exit')) as [number | null];
for (const file of excluded) console.log(`not run: ${file}: it states what 2.4 does`);
console.log(`Tested: ${installation}.`);
process.exitCode = exit ?? 1;
