import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const STAND_IN = join(import.meta.dirname, '../../doubles/xtrabackup-home');

/** The installation under test: the one REDOUBT_XTRABACKUP_HOME names, else the stand-in. */
export const engineHome = process.env.REDOUBT_XTRABACKUP_HOME ?? STAND_IN;

export const isStandIn = engineHome === STAND_IN;

export type Program = 'xtrabackup' | 'xbstream' | 'xbcrypt' | 'mysqld' | 'mysql' | 'mysqladmin';

export const programPath = (program: Program): string => join(engineHome, 'bin', program);

/** What `--version` says of a program of the installation; throws where it does not start. */
export const versionOf = (program: 'xtrabackup' | 'mysqld'): string => {
  const { error, stdout, stderr } = spawnSync(programPath(program), ['--no-defaults', '--version'], {
    encoding: 'utf8',
  });
  if (error) throw new Error(`${programPath(program)} cannot be started: ${error.message}`);
  const said = `${stdout}${stderr}`;
  const version = /(?:xtrabackup version|Ver)\s+(\d+\.\d+\.\d+(?:-\d+)?)/.exec(said)?.[1];
  if (version === undefined) throw new Error(`${programPath(program)} --version says: ${said}`);
  return version;
};
