import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Connection, createConnection } from 'mysql2/promise';
import { type HostPaths, mariadbPrograms, type ServerPrograms } from './server-programs.ts';

const run = promisify(execFile);

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/** What stands in for systemd on this host: starts and stops the server, independent of who called. */
const controlScript = (programs: ServerPrograms, directory: string, socket: string): string => `#!/bin/sh
# Starts or stops the server of this host, and waits until it has.
set -eu
pid_file='${directory}/server.pid'
${Object.entries(programs.environment ?? {})
  .map(([name, value]) => `export ${name}=${quoted(value)}\n`)
  .join('')}# One that has ended may wait a while to be reaped.
running() { grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status"; }
alive() { [ -s "$pid_file" ] && running "$(cat "$pid_file")"; }
case "$1" in
  start)
    alive && exit 0
    rm -f "$pid_file"
    setsid ${quoted(programs.server)} --defaults-file='${directory}/my.cnf' </dev/null >>'${directory}/error.log' 2>&1 &
    server=$!
    tries=600
    until ${programs.ping.map(quoted).join(' ')} --socket='${socket}' --user=root >/dev/null 2>&1; do
      tries=$((tries - 1))
      if [ "$tries" -eq 0 ] || { ! running "$server" && ! alive; }; then
        tail -n 20 '${directory}/error.log' >&2
        exit 1
      fi
      sleep 0.1
    done
    ;;
  stop)
    alive || exit 0
    pid="$(cat "$pid_file")"
    kill "$pid"
    while running "$pid"; do sleep 0.1; done
    ;;
  *) echo "usage: $0 start|stop" >&2; exit 2 ;;
esac
`;

/** A database host in one directory: a server with its configuration, and a backup user of Redoubt's. */
export class DatabaseHost implements HostPaths {
  readonly #programs: ServerPrograms;
  readonly directory: string;
  readonly dataDirectory: string;
  readonly socket: string;
  /** User and password of the backup user; readable by its owner only. */
  readonly optionFile: string;
  readonly control: string;
  /** A short path, for sockets. */
  readonly socketDirectory: string;
  readonly temporary: string;
  readonly owner = userInfo().username;

  private constructor(directory: string, programs: ServerPrograms) {
    this.#programs = programs;
    this.directory = directory;
    this.dataDirectory = join(directory, 'data');
    // Of its own: what a killed server left in a shared one is in the way of the next with its process id.
    this.temporary = join(directory, 'tmp');
    // A socket's path has at most 107 bytes; a clone may lie deep.
    this.socketDirectory = mkdtempSync(join(tmpdir(), 'redoubt-'));
    this.socket = join(this.socketDirectory, 'mysql.sock');
    this.optionFile = join(directory, 'backup-user.cnf');
    this.control = join(directory, 'server-control');
    // Whatever ends this process ends the server: it is no child that a signal would reach.
    process.once('exit', this.#killNow);
  }

  /** Makes the host and starts its server, empty but for the backup user. */
  static async create(directory: string, programs: ServerPrograms = mariadbPrograms): Promise<DatabaseHost> {
    mkdirSync(directory, { recursive: true });
    const host = new DatabaseHost(directory, programs);
    try {
      await host.#setUp();
      return host;
    } catch (error) {
      await host.close();
      throw error;
    }
  }

  async #setUp(): Promise<void> {
    mkdirSync(this.temporary, { recursive: true });
    writeFileSync(
      join(this.directory, 'my.cnf'),
      [
        '[mysqld]',
        `user=${this.owner}`,
        `datadir=${this.dataDirectory}`,
        `tmpdir=${this.temporary}`,
        `socket=${this.socket}`,
        `pid-file=${join(this.directory, 'server.pid')}`,
        'skip-networking',
        'skip-name-resolve',
        'server-id=1',
        ...this.#programs.options(this),
        '',
      ].join('\n'),
    );
    writeFileSync(this.control, controlScript(this.#programs, this.directory, this.socket), { mode: 0o755 });
    await this.#programs.initialize(this);
    await this.start();
    await this.#createBackupUser();
  }

  async start(): Promise<void> {
    await run(this.control, ['start']);
  }

  async stop(): Promise<void> {
    await run(this.control, ['stop']);
  }

  /** The server's process, where it runs. */
  get pid(): number | undefined {
    try {
      const pid = Number(readFileSync(join(this.directory, 'server.pid'), 'utf8'));
      // The number may be somebody else's by now.
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(this.directory) ? pid : undefined;
    } catch {
      return undefined;
    }
  }

  /** As a power failure would end it. */
  async kill(): Promise<void> {
    const { pid } = this;
    this.#killNow();
    while (pid !== undefined && isRunning(pid)) await sleep(20);
  }

  readonly #killNow = (): void => {
    const { pid } = this;
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
  };

  /** The file with the keys of its encrypted tables, where it has one. */
  get keyring(): string | undefined {
    return this.#programs.keyring?.(this);
  }

  /** As a lost disk does. */
  async destroyData(): Promise<void> {
    await rm(this.dataDirectory, { recursive: true });
    if (this.keyring !== undefined) await rm(this.keyring);
  }

  connect(): Promise<Connection> {
    return createConnection({ socketPath: this.socket, user: 'root', supportBigNumbers: true });
  }

  /** Kills the server where it runs, and removes what lies outside of the directory. */
  async close(): Promise<void> {
    await this.kill();
    process.off('exit', this.#killNow);
    rmSync(this.socketDirectory, { recursive: true, force: true });
  }

  async #createBackupUser(): Promise<void> {
    const password = randomBytes(18).toString('base64url');
    writeFileSync(this.optionFile, `[client]\nuser=redoubt\npassword=${password}\n`, { mode: 0o600 });
    const connection = await this.connect();
    try {
      await connection.query("CREATE USER 'redoubt'@'localhost' IDENTIFIED BY ?", [password]);
      for (const grant of this.#programs.grants) await connection.query(grant);
    } finally {
      await connection.end();
    }
  }
}

/** A killed process has no command line any more while it still gives back its memory; it runs until it is gone, or waits to be reaped. */
const isRunning = (pid: number): boolean => {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};
