import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import { engineHome, isStandIn, programPath } from './engine-home.ts';

const READY_MS = 60_000;
/** A server that has had nothing to do for a second writes its dirty pages. */
const BUSY_MS = 100;
/** One that has something to do goes on for so long at the rate of its last writes. */
const SETTLE_MS = 8_000;

type Query = (sql: string) => Promise<readonly Record<string, unknown>[]>;

const lsnsOf = async (query: Query): Promise<{ readonly lsn: number; readonly checkpoint: number }> => {
  const [row] = await query('SHOW ENGINE INNODB STATUS');
  const number = (pattern: RegExp): number => Number(pattern.exec(String(row?.Status))?.[1]);
  return { lsn: number(/Log sequence number\s+(\d+)/), checkpoint: number(/Last checkpoint at\s+(\d+)/) };
};

/** Waits until every change is in the data files and a checkpoint says so. */
export const flushPages = async (query: Query): Promise<void> => {
  await query('SET GLOBAL innodb_max_dirty_pages_pct = 0');
  for (;;) {
    const { lsn, checkpoint } = await lsnsOf(query);
    if (lsn - checkpoint <= 9) break;
    await sleep(50);
  }
};

export interface ServerFiles {
  readonly dataDirectory: string;
  readonly socket: string;
  readonly errorLog: string;
  /** Absent: the server has no keyring plugin. */
  readonly keyring?: string;
  /** For the programs: which version the stand-in models. */
  readonly environment?: Readonly<Record<string, string>>;
}

const asUser = (): readonly string[] => (process.getuid?.() === 0 ? ['--user=root'] : []);

const homeOptions = [`--basedir=${engineHome}`, `--lc-messages-dir=${join(engineHome, 'share')}`];

/** A server of the installation under test, at a socket of its own. */
export class LabServer {
  readonly files: ServerFiles;
  readonly #options: readonly string[];
  #process: ChildProcess | undefined;
  #connection: Connection | undefined;
  #busy: (() => Promise<void>) | undefined;

  constructor(files: ServerFiles, options: readonly string[] = []) {
    this.files = files;
    this.#options = options;
  }

  /** Makes the data directory. */
  async initialize(): Promise<void> {
    const log = openSync(this.files.errorLog, 'a');
    const child = spawn(
      programPath('mysqld'),
      ['--no-defaults', '--initialize-insecure', ...asUser(), ...homeOptions, `--datadir=${this.files.dataDirectory}`],
      { stdio: ['ignore', log, log], env: { ...process.env, ...this.files.environment } },
    );
    closeSync(log);
    const code = await new Promise((resolve) => child.on('close', resolve));
    if (code !== 0) throw new Error(`mysqld --initialize ended with ${code}\n${this.errorLog()}`);
  }

  async start(): Promise<void> {
    const { dataDirectory, socket, keyring } = this.files;
    mkdirSync(dataDirectory, { recursive: true });
    const log = openSync(this.files.errorLog, 'a');
    const child = spawn(
      programPath('mysqld'),
      [
        '--no-defaults',
        ...asUser(),
        ...homeOptions,
        `--datadir=${dataDirectory}`,
        `--socket=${socket}`,
        `--pid-file=${join(dataDirectory, 'mysqld.pid')}`,
        '--skip-networking',
        ...(keyring === undefined
          ? []
          : [
              `--plugin-dir=${join(engineHome, 'lib/plugin')}`,
              '--early-plugin-load=keyring_file.so',
              `--keyring_file_data=${keyring}`,
            ]),
        '--server-id=1',
        '--log-bin=binlog',
        ...this.#options,
      ],
      { stdio: ['ignore', log, log], env: { ...process.env, ...this.files.environment } },
    );
    closeSync(log);
    this.#process = child;
    process.once('exit', this.#killNow);
    let ended = false;
    child.once('exit', () => (ended = true));
    for (const deadline = Date.now() + READY_MS; Date.now() < deadline && !ended; ) {
      try {
        this.#connection = await this.connect();
        return;
      } catch {
        await sleep(30);
      }
    }
    child.kill('SIGKILL');
    throw new Error(`mysqld does not start\n${this.errorLog()}`);
  }

  async connect(user = 'root', password = ''): Promise<Connection> {
    const connection = await createConnection({ socketPath: this.files.socket, user, password });
    connection.on('error', () => {});
    return connection;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** One statement as root. */
  async query(sql: string): Promise<readonly Record<string, unknown>[]> {
    this.#connection ??= await this.connect();
    const [rows] = await this.#connection.query<RowDataPacket[]>(sql);
    return Array.isArray(rows) ? rows : [];
  }

  /** Rows of a table. */
  async count(table: string): Promise<number> {
    const [row] = await this.query(`SELECT COUNT(*) AS n FROM ${table}`);
    return Number(row?.n);
  }

  /** What the tables hold, in one comparable value. */
  async checksums(...tables: readonly string[]): Promise<string> {
    return JSON.stringify(await this.query(`CHECKSUM TABLE ${tables.join(', ')}`));
  }

  lsns(): Promise<{ readonly lsn: number; readonly checkpoint: number }> {
    return lsnsOf((sql) => this.query(sql));
  }

  /** Waits until every change is in the data files and a checkpoint says so. */
  async flush(): Promise<void> {
    await this.#rest();
    await flushPages((sql) => this.query(sql));
  }

  /** From now on changes stay in memory and in the redo log, for a while at least. */
  async stayDirty(): Promise<void> {
    await this.query('SET GLOBAL innodb_max_dirty_pages_pct = 99');
    // A real one writes them all the same when it is idle, and for a while when it is not.
    if (isStandIn || this.#busy) return;
    await this.query('SET GLOBAL innodb_adaptive_flushing = OFF');
    await this.query('SET GLOBAL innodb_flushing_avg_loops = 1');
    await this.#keepBusy();
    await sleep(SETTLE_MS);
  }

  /** Changes a row of its own all the time, outside of the binary log. */
  async #keepBusy(): Promise<void> {
    const connection = await this.connect();
    for (const sql of [
      'SET SESSION sql_log_bin = 0',
      'CREATE DATABASE IF NOT EXISTS busy',
      'CREATE TABLE IF NOT EXISTS busy.counter (id INT PRIMARY KEY, n INT NOT NULL)',
      'REPLACE INTO busy.counter VALUES (1, 0)',
    ])
      await connection.query(sql);
    let resting = false;
    const work = async (): Promise<void> => {
      while (!resting) {
        await connection.query('UPDATE busy.counter SET n = n + 1');
        await sleep(BUSY_MS);
      }
    };
    // It ends with its server, too: that is no failure.
    const working = work().catch(() => {});
    this.#busy = async () => {
      resting = true;
      await working;
      connection.destroy();
    };
  }

  async #rest(): Promise<void> {
    const rest = this.#busy;
    this.#busy = undefined;
    await rest?.();
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  errorLog(): string {
    return existsSync(this.files.errorLog) ? readFileSync(this.files.errorLog, 'utf8').slice(-4000) : '';
  }

  readonly #killNow = (): void => void this.#process?.kill('SIGKILL');

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    this.#connection?.destroy();
    this.#connection = undefined;
    this.#process = undefined;
    process.off('exit', this.#killNow);
    if (child && child.exitCode === null && child.signalCode === null) {
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      child.kill(signal);
      await ended;
    }
    await this.#rest();
  }
}
