import type { EngineName } from '#core/server-identity.ts';
import { compareVersions } from './compare-versions.ts';

/**
 * The table `--history` writes to; there are no options for another one. XtraBackup's sources (`write_xtrabackup_info`); MariaDB moved it with
 * 10.11, as its manual says.
 */
export const historyTable = (engine: { readonly name: EngineName; readonly series: string }): string =>
  engine.name === 'mariadb-backup' && compareVersions(engine.series, '10.11') >= 0
    ? 'mysql.mariadb_backup_history'
    : 'PERCONA_SCHEMA.xtrabackup_history';
