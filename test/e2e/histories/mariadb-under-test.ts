import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ClusterConfig, serverConfigSchema } from '#core/cluster-config.ts';
import type { Transition } from '#core/tablespace-encryption.ts';
import { Mariadb, type MariadbOptions } from '#local/mariadb/start-mariadb.ts';
import type { Answering, DatabaseUnderTest, TableOptions } from './database-under-test.ts';

const PROGRAM = '/usr/bin/mariadb-backup';

export interface MariadbUnderTestOptions {
  /** Whether redo, undo and tables that do not ask for it are encrypted, too. */
  readonly everything: boolean;
}

/** An initialised data directory and its key file, made once: initialising takes longer than most histories. */
const templates = new Map<boolean, Promise<string>>();

const keyLine = (id: number, seed: string): string => `${id};${createHash('sha256').update(seed).digest('hex')}\n`;

const idOf = (line: string): number => Number(line.split(';')[0]);

const optionsFor = (directory: string, keyFile: string, { everything }: MariadbUnderTestOptions): MariadbOptions => ({
  directory,
  bufferPool: '32M',
  encryption: { keyFile, byDefault: everything },
  options: ['--log-bin=binlog', '--server-id=1'],
});

const makeTemplate = async (options: MariadbUnderTestOptions): Promise<string> => {
  const directory = mkdtempSync(join(tmpdir(), 'mh-template-'));
  writeFileSync(join(directory, 'keys'), keyLine(1, directory), { mode: 0o600 });
  const server = new Mariadb(optionsFor(directory, join(directory, 'keys'), options));
  await server.start();
  await server.stop();
  return directory;
};

export const removeTemplates = async (): Promise<void> => {
  for (const directory of await Promise.all(templates.values())) rmSync(directory, { recursive: true, force: true });
};

const templateOf = (options: MariadbUnderTestOptions): Promise<string> => {
  const known = templates.get(options.everything) ?? makeTemplate(options);
  templates.set(options.everything, known);
  return known;
};

/** A real MariaDB with `file_key_management`. Its keys have no versions: a rotation is a new id, which tables are altered to. */
export class MariadbUnderTest implements DatabaseUnderTest {
  readonly directory: string;
  readonly modes = ['sealed'] as const;
  readonly transitions: readonly Transition[] = ['none'];
  readonly hasOwnIdentity = false;
  readonly keyringFile: string;
  readonly config: DatabaseUnderTest['config'];
  readonly #template: string;
  readonly #options: MariadbUnderTestOptions;
  readonly #server: Mariadb;
  #count = 0;

  private constructor(template: string, options: MariadbUnderTestOptions) {
    this.#template = template;
    this.#options = options;
    this.directory = mkdtempSync(join(tmpdir(), 'mh-'));
    mkdirSync(join(this.directory, 'keyring'));
    this.keyringFile = join(this.directory, 'keyring/keys');
    cpSync(join(template, 'keys'), this.keyringFile);
    this.#server = new Mariadb(optionsFor(join(this.directory, 's'), this.keyringFile, options));
    const optionFile = join(this.directory, 'client.cnf');
    writeFileSync(optionFile, '[client]\nuser=root\n', { mode: 0o600 });
    this.config = {
      engine: 'mariadb-backup',
      server: serverConfigSchema.parse({
        socket: this.#server.socket,
        dataDirectory: this.#server.dataDirectory,
        optionFile,
        owner: 'root',
      } satisfies Partial<ClusterConfig['server']>),
      tablespaceEncryption: { kind: 'file-key-management', path: this.keyringFile },
    };
  }

  static async create(options: MariadbUnderTestOptions): Promise<MariadbUnderTest> {
    const database = new MariadbUnderTest(await templateOf(options), options);
    await database.#begin();
    return database;
  }

  async #begin(): Promise<void> {
    cpSync(join(this.#template, 'data'), this.#server.dataDirectory, { recursive: true });
    await this.start();
  }

  get pid(): number {
    return this.#server.pid;
  }

  query(sql: string) {
    return this.#server.query(sql);
  }

  start(): Promise<void> {
    return this.#server.start();
  }

  stop(): Promise<void> {
    return this.#server.stop();
  }

  kill(): Promise<void> {
    return this.#server.kill();
  }

  async flush(): Promise<void> {
    await this.query('SET GLOBAL innodb_max_dirty_pages_pct = 0');
    await this.query('SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0');
    for (let tries = 0; tries < 100; tries++) {
      const [row] = await this.query("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'");
      if (Number(row?.Value) === 0) return;
      await sleep(20);
    }
  }

  async stayDirty(): Promise<void> {
    await this.query('SET GLOBAL innodb_max_dirty_pages_pct = 99');
  }

  createOptions({ encrypted, partitioned }: TableOptions): string {
    return `ENGINE=InnoDB ${this.alterOptions(encrypted)}${partitioned ? ' PARTITION BY HASH (id) PARTITIONS 3' : ''}`;
  }

  alterOptions(encrypted: boolean): string {
    return encrypted ? `ENCRYPTED=YES ENCRYPTION_KEY_ID=${this.#newest()}` : 'ENCRYPTED=NO ENCRYPTION_KEY_ID=1';
  }

  /** The server reads its key file when it starts. */
  async rotate(): Promise<void> {
    writeFileSync(this.keyringFile, `${readFileSync(this.keyringFile, 'utf8')}${this.#nextKey()}`);
    await this.stop();
    await this.start();
  }

  keys(): readonly string[] {
    return readFileSync(this.keyringFile, 'utf8')
      .split('\n')
      .filter((line) => line !== '');
  }

  #newest(): number {
    return Math.max(...this.keys().map(idOf));
  }

  #nextKey(): string {
    this.#count += 1;
    return keyLine(this.#newest() + 1, `${this.directory} ${this.#count}`);
  }

  /** Only the first key, which the server itself uses, and those that tables are encrypted with. */
  async pruneKeyring(): Promise<void> {
    const used = await this.query(
      'SELECT DISTINCT CURRENT_KEY_ID AS id FROM information_schema.INNODB_TABLESPACES_ENCRYPTION',
    );
    const wanted = await this.query(
      "SELECT CREATE_OPTIONS AS options FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'app'",
    );
    const ids = new Set([
      1,
      ...used.map(({ id }) => Number(id)),
      ...wanted.map(({ options }) => Number(/ENCRYPTION_KEY_ID.?=.?(\d+)/i.exec(String(options))?.[1] ?? 1)),
    ]);
    await this.stop();
    const kept = this.keys().filter((line) => ids.has(idOf(line)));
    writeFileSync(this.keyringFile, kept.map((line) => `${line}\n`).join(''));
    await this.start();
  }

  clientCommand(sql: string): string {
    return `mariadb --no-defaults --user=root --socket='${this.#server.socket}' -e "${sql}"`;
  }

  rotateCommand(): string {
    return `printf '%s' '${this.#nextKey()}' >>'${this.keyringFile}'`;
  }

  async rebuild(): Promise<void> {
    await this.stop();
    rmSync(this.#server.dataDirectory, { recursive: true });
    await this.#begin();
  }

  adoptDirectory(): void {}

  engineThat(script: string): string {
    this.#count += 1;
    const place = join(this.directory, `engine-${this.#count}`);
    mkdirSync(place);
    writeFileSync(
      join(place, 'mariadb-backup'),
      `#!/bin/sh\nPROGRAM=${PROGRAM}\ncase "$*" in *--backup*)\n${script}\nexit;; esac\nexec "$PROGRAM" "$@"\n`,
      { mode: 0o755 },
    );
    return place;
  }

  async lookAt<T>(dataDirectory: string, keyring: string, look: (server: Answering) => Promise<T>): Promise<T> {
    this.#count += 1;
    const directory = join(this.directory, `r${this.#count}`);
    await using second = new Mariadb({ ...optionsFor(directory, keyring, this.#options), dataDirectory });
    await second.start();
    return await look(second);
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
