import { join } from 'node:path';

const STAND_IN = join(import.meta.dirname, '../../doubles/xtrabackup-home');

/** The installation under test: the one REDOUBT_XTRABACKUP_HOME names, else the stand-in. */
export const engineHome = process.env.REDOUBT_XTRABACKUP_HOME ?? STAND_IN;

export const isStandIn = engineHome === STAND_IN;

export type Program = 'xtrabackup' | 'xbstream' | 'xbcrypt' | 'mysqld' | 'mysql' | 'mysqladmin';

export const programPath = (program: Program): string => join(engineHome, 'bin', program);
