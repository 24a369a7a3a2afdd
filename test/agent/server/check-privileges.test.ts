import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { missingPrivileges } from '#agent/server/check-privileges.ts';

const runbook = readFileSync(new URL('../../../docs/runbook.md', import.meta.url), 'utf8');

const CANARY = 'GRANT SELECT, INSERT, DELETE, CREATE ON `redoubt`.* TO `bk`@`localhost`';
const lacking = (name: 'mariadb-backup' | 'xtrabackup', series: string, binlog: boolean, ...grants: string[]) =>
  missingPrivileges({ name, series }, binlog, 'bk@localhost', grants).missing;

describe('the privileges of a backup user', () => {
  it('for MariaDB without a binary log are fewer', () => {
    const grants = ["GRANT RELOAD, PROCESS ON *.* TO `bk`@`localhost` IDENTIFIED BY PASSWORD '*0'", CANARY];
    expect(lacking('mariadb-backup', '10.11', false, ...grants)).toEqual([]);
    expect(lacking('mariadb-backup', '10.11', true, ...grants)).toEqual(['BINLOG MONITOR', 'BINLOG ADMIN']);
  });

  it('count by their older names', () => {
    const grants = ['GRANT RELOAD, PROCESS, SUPER, REPLICATION CLIENT ON *.* TO `bk`@`localhost`', CANARY];
    expect(lacking('mariadb-backup', '10.6', true, ...grants)).toEqual([]);
  });

  it('on one schema are not those on all, and those on all are those on one', () => {
    expect(
      lacking('mariadb-backup', '10.11', false, 'GRANT ALL PRIVILEGES ON `redoubt`.* TO `bk`@`localhost`'),
    ).toEqual(['RELOAD', 'PROCESS']);
    expect(
      lacking(
        'mariadb-backup',
        '10.11',
        false,
        'GRANT SELECT, INSERT, DELETE, CREATE, RELOAD, PROCESS ON *.* TO `bk`@`localhost`',
      ),
    ).toEqual([]);
    expect(
      lacking(
        'mariadb-backup',
        '10.11',
        false,
        'GRANT RELOAD, PROCESS ON *.* TO `bk`@`localhost`',
        CANARY.replace('redoubt', 'redoubts'),
      ),
    ).toEqual(['SELECT on redoubt.*', 'INSERT on redoubt.*', 'DELETE on redoubt.*', 'CREATE on redoubt.*']);
  });

  it('on single columns do not count as a name with a comma', () => {
    const grants = ['GRANT RELOAD, PROCESS ON *.* TO `bk`@`localhost`', CANARY];
    expect(
      lacking('mariadb-backup', '10.11', false, ...grants, 'GRANT SELECT (a, b) ON `x`.`y` TO `bk`@`localhost`'),
    ).toEqual([]);
  });

  it('for XtraBackup 8 include the tables it reads, and come with the statements that grant them', () => {
    const grants = [
      'GRANT RELOAD, PROCESS, LOCK TABLES, REPLICATION CLIENT ON *.* TO `bk`@`localhost`',
      'GRANT BACKUP_ADMIN ON *.* TO `bk`@`localhost`',
      'GRANT SELECT ON `performance_schema`.`log_status` TO `bk`@`localhost`',
      CANARY,
    ];
    const { missing, statement } = missingPrivileges(
      { name: 'xtrabackup', series: '8.0' },
      true,
      'bk@localhost',
      grants,
    );
    expect(missing).toEqual([
      'SELECT on performance_schema.keyring_component_status',
      'SELECT on performance_schema.replication_group_members',
      'SESSION_VARIABLES_ADMIN',
    ]);
    expect(statement).toBe(
      "GRANT SELECT ON performance_schema.keyring_component_status TO 'bk'@'localhost'; " +
        "GRANT SELECT ON performance_schema.replication_group_members TO 'bk'@'localhost'; " +
        "GRANT SESSION_VARIABLES_ADMIN ON *.* TO 'bk'@'localhost';",
    );
  });

  it.each([
    ['xtrabackup', '8.0', 'PERCONA_SCHEMA.*'],
    ['mariadb-backup', '10.6', 'PERCONA_SCHEMA.*'],
    ['mariadb-backup', '10.11', 'mysql.mariadb_backup_history'],
  ] as const)('for the backup history of %s %s are on %s', (name, series, on) => {
    const { missing, statement } = missingPrivileges(
      { name, series },
      false,
      'bk@localhost',
      ['GRANT ALL PRIVILEGES ON `performance_schema`.* TO `bk`@`localhost`', CANARY],
      { history: true },
    );
    expect(missing.slice(-4)).toEqual(['CREATE', 'ALTER', 'INSERT', 'SELECT'].map((one) => `${one} on ${on}`));
    expect(statement).toContain(`GRANT CREATE, ALTER, INSERT, SELECT ON ${on} TO 'bk'@'localhost';`);
  });

  it.each([
    ['xtrabackup', '2.4', { killLongQueriesTimeout: 5 }, ['SUPER']],
    [
      'xtrabackup',
      '8.4',
      { killLongQueriesTimeout: 5, safeSlaveBackup: true },
      ['CONNECTION_ADMIN', 'REPLICATION_SLAVE_ADMIN'],
    ],
    ['xtrabackup', '8.0', { registerRedoLogConsumer: true, pageTracking: true }, ['INNODB_REDO_LOG_ARCHIVE']],
    ['xtrabackup', '8.0', { registerRedoLogConsumer: false }, []],
    ['mariadb-backup', '10.11', { slaveInfo: true }, ['SLAVE MONITOR']],
  ] as const)('for the options of %s %s %o are %o besides', (name, series, options, besides) => {
    const lackingWith = (asked: object) =>
      missingPrivileges({ name, series }, false, 'bk@localhost', [CANARY], asked).missing;
    expect(lackingWith({ options }).filter((privilege) => !lackingWith({}).includes(privilege))).toEqual(besides);
  });

  it.each([
    ['mariadb-backup', '10.11', 0],
    ['xtrabackup', '8.0', 1],
    ['xtrabackup', '9.7', 1],
    ['xtrabackup', '2.4', 2],
  ] as const)('for %s %s are what the runbook grants', (name, series, index) => {
    const section = /^### PrivilegesMissing\n([\s\S]*?)^### /m.exec(runbook)?.[1] ?? '';
    const users = [...section.matchAll(/```sql\nCREATE USER [\s\S]*?```/g)].map(([block]) =>
      block.match(/^GRANT [^;]+/gm),
    );
    expect(users).toHaveLength(3);
    expect(lacking(name, series, true, ...(users[index] ?? []))).toEqual([]);
  });

  it('to flush tables alone do for XtraBackup 8.4, not for 8.0', () => {
    const grants = ['GRANT FLUSH_TABLES ON *.* TO `bk`@`localhost`'];
    expect(lacking('xtrabackup', '8.0', false, ...grants)).toContain('RELOAD');
    expect(lacking('xtrabackup', '8.4', false, ...grants)).not.toContain('RELOAD');
  });

  it('for XtraBackup 2.4 are those the recorded runs failed without', () => {
    // 72-privileges-*: without PROCESS, RELOAD or REPLICATION CLIENT the run ends with 1.
    expect(lacking('xtrabackup', '2.4', false, CANARY)).toEqual([
      'PROCESS',
      'RELOAD',
      'LOCK TABLES',
      'REPLICATION CLIENT',
    ]);
  });
});
