import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Program } from './engine-home.ts';
import { LabServer } from './lab-server.ts';
import { type Ran, type RunOptions, runProgram } from './run-program.ts';

/** The key of native encryption the lab uses. */
export const KEY = '0123456789abcdef0123456789abcdef';

export interface Metadata {
  readonly type: string;
  readonly from: string;
  readonly to: string;
  readonly last: string;
}

export interface LabOptions {
  /** Which XtraBackup, and with it which server, the stand-in models. */
  readonly version?: string;
  /** Whether the server has component_keyring_file instead of the plugin. */
  readonly component?: boolean;
}

/** A directory with a server that has encrypted tables, and everything that is done with its backups. */
export class Lab {
  readonly root: string;
  readonly server: LabServer;
  readonly keyring: string;
  readonly optionFile: string;
  readonly keyFile: string;
  #count = 0;

  readonly #environment: Readonly<Record<string, string>>;
  readonly #component: boolean;

  private constructor(root: string, options: LabOptions) {
    this.root = root;
    this.#component = options.component ?? false;
    this.#environment = options.version === undefined ? {} : { REDOUBT_STANDIN_VERSION: options.version };
    this.keyring = join(root, 'keyring/keyring');
    this.optionFile = join(root, 'my.cnf');
    this.keyFile = join(root, 'enc.key');
    this.server = new LabServer(
      {
        dataDirectory: join(root, 'data'),
        socket: join(root, 'my.sock'),
        errorLog: join(root, 'error.log'),
        ...(options.component ? {} : { keyring: this.keyring }),
        environment: this.#environment,
      },
      ['--innodb-log-file-size=5M'],
    );
  }

  /** With `app.plain`, `app.enc` (encrypted) and `app.my` (MyISAM), all flushed. */
  static async create(options: LabOptions = {}): Promise<Lab> {
    const lab = new Lab(mkdtempSync(join(tmpdir(), 'xb-')), options);
    mkdirSync(join(lab.root, 'keyring'));
    writeFileSync(lab.optionFile, `[mysqld]\ndatadir=${lab.server.files.dataDirectory}\n`);
    writeFileSync(lab.keyFile, KEY, { mode: 0o600 });
    await lab.server.initialize();
    if (options.component) lab.useComponent(lab.server.files.dataDirectory, lab.keyring);
    await lab.server.start();
    await lab.server.query("CREATE USER 'bk'@'localhost' IDENTIFIED BY 's3cret'");
    await lab.server.query("GRANT ALL PRIVILEGES ON *.* TO 'bk'@'localhost'");
    await lab.server.query('CREATE DATABASE app');
    for (const [table, options] of [
      ['plain', ''],
      ['enc', "ENCRYPTION='Y'"],
    ] as const)
      await lab.server.query(
        `CREATE TABLE app.${table} (id INT AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, payload VARCHAR(400)) ${options}`,
      );
    await lab.server.query('CREATE TABLE app.my (id INT PRIMARY KEY, payload VARCHAR(20)) ENGINE=MyISAM');
    await lab.server.query("INSERT INTO app.my VALUES (1, 'a'), (2, 'b')");
    await lab.addRows('plain', 400);
    await lab.addRows('enc', 400);
    await lab.server.flush();
    return lab;
  }

  async addRows(table: string, count: number): Promise<void> {
    const rows = Array.from(
      { length: count },
      (_, index) => `(${index}, REPEAT('${String.fromCharCode(97 + (index % 26))}', 150))`,
    );
    await this.server.query(`INSERT INTO app.${table} (k, payload) VALUES ${rows.join(', ')}`);
  }

  async close(): Promise<void> {
    await this.server.kill();
    rmSync(this.root, { recursive: true, force: true });
  }

  /** Configures component_keyring_file for the server of a data directory. */
  useComponent(dataDirectory: string, keyring: string): void {
    writeFileSync(join(dataDirectory, 'mysqld.my'), '{"components": "file://component_keyring_file"}');
    writeFileSync(
      join(dataDirectory, 'component_keyring_file.cnf'),
      JSON.stringify({ path: keyring, read_only: false }),
    );
  }

  /** Runs a program of the version this lab has. */
  run(program: Program, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
    return runProgram(program, args, { ...options, env: { ...this.#environment, ...options.env } });
  }

  /** A path that nothing has. */
  fresh(name: string): string {
    this.#count += 1;
    return join(this.root, `${name}-${this.#count}`);
  }

  /** A copy of a directory of backups, to be spoilt. */
  copyOf(directory: string): string {
    const copy = this.fresh('copy');
    cpSync(directory, copy, { recursive: true });
    return copy;
  }

  /** `--backup` into `target`; the keyring is given unless `keyring` says otherwise. */
  backup(
    target: string,
    args: readonly string[] = [],
    options: RunOptions & { readonly keyring?: string | 'none'; readonly optionFile?: string } = {},
  ): Promise<Ran> {
    const keyring = options.keyring ?? (this.#component ? 'none' : this.keyring);
    return this.run(
      'xtrabackup',
      [
        `--defaults-file=${options.optionFile ?? this.optionFile}`,
        '--backup',
        '--user=bk',
        '--password=s3cret',
        `--socket=${this.server.files.socket}`,
        '--no-version-check',
        ...(keyring === 'none' ? [] : [`--keyring-file-data=${keyring}`]),
        ...args,
        `--target-dir=${target}`,
      ],
      options,
    );
  }

  /** A backup that must succeed; returns its directory. */
  async taken(args: readonly string[] = [], options: Parameters<Lab['backup']>[2] = {}): Promise<string> {
    const target = this.fresh('backup');
    const ran = await this.backup(target, args, options);
    if (ran.code !== 0 || !ran.log.includes('completed OK!'))
      throw new Error(`the backup failed: ${ran.code}\n${ran.log}`);
    return target;
  }

  prepare(
    target: string,
    args: readonly string[] = [],
    keyring: string | 'none' = this.#component ? 'none' : this.keyring,
    options: RunOptions = {},
  ): Promise<Ran> {
    return this.run(
      'xtrabackup',
      [
        '--prepare',
        ...(keyring === 'none' ? [] : [`--keyring-file-data=${keyring}`]),
        ...args,
        `--target-dir=${target}`,
      ],
      options,
    );
  }

  /** Steps that must all succeed. */
  async prepared(target: string, increments: readonly string[] = []): Promise<void> {
    const steps = [[...(increments.length > 0 ? ['--apply-log-only'] : [])]];
    for (const [index, increment] of increments.entries())
      steps.push([...(index < increments.length - 1 ? ['--apply-log-only'] : []), `--incremental-dir=${increment}`]);
    for (const step of steps) {
      const ran = await this.prepare(target, step);
      if (ran.code !== 0) throw new Error(`the prepare failed: ${ran.code}\n${ran.log}`);
    }
  }

  /** Copies a prepared backup back and starts a server on it. It is stopped when `look` is done. */
  async restored<T>(
    target: string,
    look: (server: LabServer) => Promise<T>,
    keyring: string | 'none' = this.keyring,
  ): Promise<T> {
    const dataDirectory = this.fresh('data');
    const ran = await this.run('xtrabackup', [
      '--no-defaults',
      '--copy-back',
      `--datadir=${dataDirectory}`,
      `--target-dir=${target}`,
    ]);
    if (ran.code !== 0) throw new Error(`the copy-back failed: ${ran.code}\n${ran.log}`);
    const server = new LabServer(
      {
        dataDirectory,
        socket: join(this.root, `r${this.#count}.sock`),
        errorLog: join(this.root, 'restored.log'),
        environment: this.#environment,
        ...(keyring === 'none' || this.#component ? {} : { keyring }),
      },
      ['--innodb-log-file-size=5M'],
    );
    if (this.#component && keyring !== 'none') this.useComponent(dataDirectory, keyring);
    await server.start();
    try {
      return await look(server);
    } finally {
      await server.kill();
      rmSync(dataDirectory, { recursive: true, force: true });
    }
  }

  /** A copy of the keyring as it is now. */
  keyringCopy(): string {
    const copy = this.fresh('keyring-copy');
    cpSync(this.keyring, copy);
    return copy;
  }
}

/** Paths of all files below a directory, relative, sorted. */
export const filesIn = (directory: string): readonly string[] =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();

export const metadataIn = (directory: string): Metadata | undefined => {
  const path = join(directory, 'xtrabackup_checkpoints');
  if (!existsSync(path)) return undefined;
  const text = readFileSync(path, 'utf8');
  const value = (name: string): string => new RegExp(`^${name} = (\\S+)`, 'm').exec(text)?.[1] ?? '';
  return { type: value('backup_type'), from: value('from_lsn'), to: value('to_lsn'), last: value('last_lsn') };
};
