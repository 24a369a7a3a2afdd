import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Where a host keeps what its server needs. */
export interface HostPaths {
  readonly directory: string;
  readonly dataDirectory: string;
  readonly temporary: string;
  /** The user of the operating system that the server runs as. */
  readonly owner: string;
}

/** Which server a host runs, and how. */
export interface ServerPrograms {
  readonly server: string;
  /** Without which the programs do not run. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Ends with 0 once a server answers at the socket it is given. */
  readonly ping: readonly string[];
  /** Lines of the server's option file that are its own. */
  readonly options: (paths: HostPaths) => readonly string[];
  /** The file outside the data directory that holds the keys of its encrypted tables. */
  readonly keyring?: (paths: HostPaths) => string;
  /** Makes an empty data directory, `root` without a password at the socket. */
  readonly initialize: (paths: HostPaths) => Promise<void>;
  /** What the backup user may do, as docs/runbook.md says it, and no more. */
  readonly grants: readonly string[];
}

export const mariadbPrograms: ServerPrograms = {
  server: 'mariadbd',
  ping: ['mariadb', '--no-defaults', '-e', 'DO 0'],
  options: ({ directory }) => [
    `log-bin=${join(directory, 'binlog')}`,
    'innodb-buffer-pool-size=384M',
    'innodb-log-file-size=96M',
  ],
  initialize: async ({ owner, dataDirectory, temporary }) => {
    await run('mariadb-install-db', [
      '--no-defaults',
      `--user=${owner}`,
      `--datadir=${dataDirectory}`,
      `--tmpdir=${temporary}`,
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
      '--innodb-log-file-size=96M',
    ]);
  },
  grants: [
    "GRANT RELOAD, PROCESS, BINLOG MONITOR, BINLOG ADMIN ON *.* TO 'redoubt'@'localhost'",
    "GRANT CREATE, SELECT, INSERT, DELETE ON redoubt.* TO 'redoubt'@'localhost'",
  ],
};
