import { MARIADB_OPTIONS } from '#core/engine-options.ts';
import type { SupportedOptions } from './option-arguments.ts';

/** The manual of mariadb-backup, "Authentication and Privileges". */
export const mariadbOptions: SupportedOptions = {
  ...Object.fromEntries(MARIADB_OPTIONS.map((name) => [name, {}])),
  killLongQueriesTimeout: { privileges: ['CONNECTION ADMIN', 'SUPER'] },
  safeSlaveBackup: { privileges: ['REPLICATION SLAVE ADMIN', 'SUPER'] },
  slaveInfo: { privileges: ['SLAVE MONITOR', 'REPLICA MONITOR', 'REPLICATION CLIENT', 'SUPER'] },
};
