import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { compareBuilds } from '#agent/engines/compare-versions.ts';

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

const seriesOf = (version: string): string => version.split('.').slice(0, 2).join('.');

/**
 * Why tests of XtraBackup `version` cannot run; `undefined` where they can: on the stand-in, which models it, and on an installation of
 * that series that is as new.
 */
export const whyNotVersion = (version: string): string | undefined => {
  if (isStandIn) return undefined;
  const installed = versionOf('xtrabackup');
  return seriesOf(installed) === seriesOf(version) && compareBuilds(installed, version) >= 0
    ? undefined
    : `XtraBackup ${installed} is installed, not ${version}`;
};

/** A server reads components from its data directory only where the file beside its program says so. */
export const whyNotComponent = (): string | undefined =>
  isStandIn || existsSync(join(engineHome, 'bin', 'mysqld.my'))
    ? undefined
    : 'the installation has no bin/mysqld.my with {"read_local_manifest": true}';
