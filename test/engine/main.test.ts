import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const testEngine = (home: string | undefined, ...args: readonly string[]): { status: number | null; said: string } => {
  const { REDOUBT_XTRABACKUP_HOME: _, ...environment } = process.env;
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(import.meta.dirname, 'main.ts'), ...args], {
    encoding: 'utf8',
    env: home === undefined ? environment : { ...environment, REDOUBT_XTRABACKUP_HOME: home },
  });
  return { status, said: `${stdout}${stderr}` };
};

it('tests nothing and fails where no installation is named, with the line to type', () => {
  const { status, said } = testEngine(undefined);
  expect(status).toBe(2);
  expect(said).toContain('REDOUBT_XTRABACKUP_HOME=/opt/percona npm run test:engine');
});

it('names what an installation lacks', () => {
  const { status, said } = testEngine('/usr');
  expect(status).toBe(2);
  expect(said).toContain('/usr/bin/xbcrypt');
  expect(said).toContain('/usr/lib/plugin/keyring_file.so');
});

it('does not guess between the stand-in and an installation', () => {
  expect(testEngine('/usr', '--stand-in')).toMatchObject({
    status: 2,
    said: expect.stringContaining('which of the two'),
  });
});

it('takes every test that drives an XtraBackup: by its name', () => {
  const root = join(import.meta.dirname, '../..');
  const driving = globSync('test/{e2e,local,contract}/**/*.test.ts', { cwd: root }).filter((path) =>
    /\/(xtrabackup-lab|engine-home|mysql-shop|mysql-under-test)\.ts'/.test(readFileSync(join(root, path), 'utf8')),
  );
  expect(driving.length).toBeGreaterThan(10);
  expect(driving.filter((path) => !/xtrabackup\.test\.ts$|^test\/contract\/xtrabackup\//.test(path))).toEqual([]);
});
