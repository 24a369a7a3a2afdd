import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';

export interface MariadbOptions {
  /** Holds the socket, the error log and, by default, the data; made where it is absent. A short path: a socket's has at most 107 bytes. */
  readonly directory: string;
  /** By default `data` in `directory`. A system database is made where there is none. */
  readonly dataDirectory?: string;
  readonly bufferPool?: string;
  readonly redoLog?: string;
  /** Further options of mariadbd, `--name=value`. */
  readonly options?: readonly string[];
  /** Encrypts every table, redo and undo included, with the keys of a file. */
  readonly encryption?: {
    readonly keyFile: string;
    /** A file with what opens an encrypted key file. */
    readonly keyFileKey?: string;
    readonly algorithm?: 'aes_cbc' | 'aes_ctr';
    /** Whether tables are encrypted that do not ask for it; true unless given. */
    readonly byDefault?: boolean;
  };
}

/** Of the package mariadb-server; `npm run set-up` fetches them without installing it, because that would start a server. */
export const PLUGIN_DIRECTORY = join(import.meta.dirname, '..', '..', '.cache', 'mariadb-plugins');

const encryptionOptions = ({ encryption }: MariadbOptions): readonly string[] => {
  if (encryption === undefined) return [];
  const all = encryption.byDefault ?? true;
  return [
    `--plugin-dir=${PLUGIN_DIRECTORY}`,
    '--plugin-load-add=file_key_management',
    `--file-key-management-filename=${encryption.keyFile}`,
    ...(encryption.keyFileKey === undefined ? [] : [`--file-key-management-filekey=FILE:${encryption.keyFileKey}`]),
    `--file-key-management-encryption-algorithm=${encryption.algorithm ?? 'aes_ctr'}`,
    ...(all ? ['--innodb-encrypt-tables=ON', '--innodb-encrypt-log=ON', '--innodb-encryption-threads=2'] : []),
  ];
};

const READY_MS = 60_000;
const STOP_MS = 60_000;

const asUser = (): readonly string[] => (process.getuid?.() === 0 ? ['--user=root'] : []);

const initialise = async (dataDirectory: string, temporary: string, options: MariadbOptions): Promise<void> => {
  const installer = spawn(
    'mariadb-install-db',
    [
      '--no-defaults',
      ...asUser(),
      `--datadir=${dataDirectory}`,
      `--tmpdir=${temporary}`,
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
      '--skip-name-resolve',
      `--innodb-log-file-size=${options.redoLog ?? '16M'}`,
      // What shapes the files must be there when they are made.
      ...encryptionOptions(options),
      ...(options.options ?? []).filter((option) => /^--innodb|^--plugin|^--file-key/.test(option)),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  for (const stream of [installer.stdout, installer.stderr]) stream.on('data', (text) => (output += text));
  const code = await new Promise<number | null>((resolve, reject) => {
    installer.on('error', reject);
    installer.on('close', resolve);
  });
  if (code !== 0) throw new Error(`mariadb-install-db ended with ${code}:\n${output}`);
};

/** A MariaDB server of one's own: no network, no file outside its directory, `root` without a password at its socket. */
export class Mariadb {
  readonly directory: string;
  readonly dataDirectory: string;
  readonly socket: string;
  readonly errorLog: string;
  readonly #options: MariadbOptions;
  #process: ChildProcess | undefined;
  #connection: Connection | undefined;

  constructor(options: MariadbOptions) {
    this.#options = options;
    this.directory = options.directory;
    this.dataDirectory = options.dataDirectory ?? join(options.directory, 'data');
    this.socket = join(options.directory, 'mysql.sock');
    this.errorLog = join(options.directory, 'error.log');
  }

  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error('the server does not run');
    return pid;
  }

  /** Starts the server and waits until it answers; throws with the end of its error log where it does not. */
  async start(): Promise<void> {
    // Of its own: what a killed server left in a shared one is in the way of the next with its process id.
    const temporary = join(this.directory, 'tmp');
    mkdirSync(temporary, { recursive: true });
    if (!existsSync(join(this.dataDirectory, 'mysql'))) await initialise(this.dataDirectory, temporary, this.#options);
    const log = openSync(this.errorLog, 'a');
    const server = spawn(
      'mariadbd',
      [
        '--no-defaults',
        ...asUser(),
        `--datadir=${this.dataDirectory}`,
        `--tmpdir=${temporary}`,
        `--socket=${this.socket}`,
        `--pid-file=${join(this.directory, 'mysqld.pid')}`,
        '--skip-networking',
        '--skip-name-resolve',
        `--innodb-buffer-pool-size=${this.#options.bufferPool ?? '64M'}`,
        `--innodb-log-file-size=${this.#options.redoLog ?? '16M'}`,
        ...encryptionOptions(this.#options),
        ...(this.#options.options ?? []),
      ],
      { stdio: ['ignore', log, log], cwd: '/' },
    );
    closeSync(log);
    this.#process = server;
    let failed: string | undefined;
    server.once('error', (error) => (failed = error.message));
    server.once('exit', (code, signal) => (failed = `it ended with ${code ?? signal}`));
    process.once('exit', this.#killNow);
    const deadline = Date.now() + READY_MS;
    while (failed === undefined && Date.now() < deadline) {
      try {
        this.#connection = await createConnection({ socketPath: this.socket, user: 'root' });
        // A server killed under an idle connection is what tests do; the next query says so.
        this.#connection.on('error', () => {});
        return;
      } catch {
        await sleep(50);
      }
    }
    server.kill('SIGKILL');
    throw new Error(`mariadbd does not start: ${failed ?? 'no answer'}\n${this.errorLogTail()}`);
  }

  /** One statement as `root`; the rows of what returns rows. */
  async query(sql: string, values: readonly (string | number)[] = []): Promise<readonly Record<string, unknown>[]> {
    this.#connection ??= await createConnection({ socketPath: this.socket, user: 'root' });
    const [rows] = await this.#connection.query<RowDataPacket[]>(sql, [...values]);
    return Array.isArray(rows) ? rows : [];
  }

  /** Shuts down cleanly and waits for the end. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** As a crash would. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  errorLogTail(lines = 20): string {
    return existsSync(this.errorLog) ? readFileSync(this.errorLog, 'utf8').split('\n').slice(-lines).join('\n') : '';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  readonly #killNow = (): void => void this.#process?.kill('SIGKILL');

  async #end(signal: NodeJS.Signals): Promise<void> {
    const server = this.#process;
    this.#connection?.destroy();
    this.#connection = undefined;
    this.#process = undefined;
    process.off('exit', this.#killNow);
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => void server.once('exit', () => resolve()));
    server.kill(signal);
    const last = setTimeout(() => server.kill('SIGKILL'), STOP_MS);
    await ended;
    clearTimeout(last);
  }
}

/** A server that answers. */
export const startMariadb = async (options: MariadbOptions): Promise<Mariadb> => {
  const server = new Mariadb(options);
  await server.start();
  return server;
};
