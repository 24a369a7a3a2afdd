import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serverConfigSchema } from '#core/cluster-config.ts';
import { engineHome, type Program, programPath } from '#test/contract/xtrabackup/engine-home.ts';
import { LabServer } from '#test/contract/xtrabackup/lab-server.ts';
import { ChainLab } from './chain-lab.ts';

const PROGRAMS: readonly Program[] = ['xtrabackup', 'xbstream', 'xbcrypt'];
const TABLES = ['app.plain', 'app.enc'] as const;

export interface XtrabackupLabOptions {
  /** Which XtraBackup and server the stand-in models; absent: the installation under test as it is. */
  readonly version?: string;
  /** Whether the server has component_keyring_file instead of the plugin. */
  readonly component?: boolean;
}

/** Chains of a MySQL with a plain and an encrypted table: of the stand-in, or of the installation REDOUBT_XTRABACKUP_HOME names. */
export class XtrabackupLab {
  readonly chain: ChainLab;
  readonly server: LabServer;
  readonly keyring: string;
  readonly engineDirectory: string;
  readonly #options: XtrabackupLabOptions;
  #count = 0;

  private constructor(options: XtrabackupLabOptions) {
    const directory = mkdtempSync(join(tmpdir(), 'xk-'));
    this.#options = options;
    mkdirSync(join(directory, 'keyring'));
    this.keyring = join(directory, 'keyring/keyring');
    const engineDirectory =
      options.version === undefined ? join(engineHome, 'bin') : wrappers(join(directory, 'bin'), options.version, '');
    this.engineDirectory = engineDirectory;
    this.chain = new ChainLab({ engine: 'xtrabackup', engineDirectory, directory });
    this.server = this.#server(join(directory, 'data'), 'my', this.keyring);
  }

  static async create(options: XtrabackupLabOptions = {}): Promise<XtrabackupLab> {
    const lab = new XtrabackupLab(options);
    const { server, chain } = lab;
    await lab.#begin();
    await server.query('CREATE DATABASE app');
    for (const [table, encrypted] of [
      ['plain', ''],
      ['enc', "ENCRYPTION='Y'"],
    ] as const)
      await server.query(
        `CREATE TABLE app.${table} (id INT AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, payload VARCHAR(400)) ${encrypted}`,
      );
    await lab.addRows('plain', 300);
    await lab.addRows('enc', 300);
    await server.flush();
    chain.server = serverConfigSchema.parse({
      socket: server.files.socket,
      dataDirectory: server.files.dataDirectory,
      optionFile: chain.optionFile,
      owner: 'root',
    });
    chain.tablespaceEncryption = {
      kind: options.component ? 'component-keyring-file' : 'keyring-file',
      path: lab.keyring,
      transition: 'none',
    };
    return lab;
  }

  get directory(): string {
    return this.chain.directory;
  }

  /** A new server in the place of the old one, with its keyring. */
  async rebuild(): Promise<void> {
    await this.server.stop();
    rmSync(this.server.files.dataDirectory, { recursive: true });
    await this.#begin();
  }

  async #begin(): Promise<void> {
    await this.server.initialize();
    this.configureKeyring();
    await this.server.start();
  }

  /** Writes what the server reads its keyring's place from, where that is in its data directory. */
  configureKeyring(): void {
    if (this.#options.component) useComponent(this.server.files.dataDirectory, this.keyring);
  }

  async addRows(table: string, rows: number): Promise<void> {
    const values = Array.from({ length: rows }, (_, index) => `(${index}, '${randomBytes(40).toString('hex')}')`);
    await this.server.query(`INSERT INTO app.${table} (k, payload) VALUES ${values.join(',')}`);
  }

  rotate(): Promise<unknown> {
    return this.server.query('ALTER INSTANCE ROTATE INNODB MASTER KEY');
  }

  sums(): Promise<string> {
    return this.server.checksums(...TABLES);
  }

  /** What the tables of a restored directory sum to, on a server with that keyring. */
  sumsIn(dataDirectory: string, keyring: string): Promise<string> {
    return this.lookAt(dataDirectory, keyring, (server) => server.checksums(...TABLES));
  }

  /** What `look` sees on a second server, on a restored directory and with that keyring. */
  async lookAt<T>(dataDirectory: string, keyring: string, look: (server: LabServer) => Promise<T>): Promise<T> {
    this.#count += 1;
    if (this.#options.component) useComponent(dataDirectory, keyring);
    const second = this.#server(dataDirectory, `r${this.#count}`, keyring);
    await second.start();
    try {
      return await look(second);
    } finally {
      await second.stop();
    }
  }

  /** A path that nothing has. */
  fresh(name: string): string {
    this.#count += 1;
    return join(this.directory, `${name}-${this.#count}`);
  }

  /**
   * Programs that run `script` first, with `$1`… the arguments, `$TARGET` the `--target-dir` and `$PROGRAM` the program itself; `set --` may
   * change them.
   */
  engineThatFirst(script: string): string {
    return wrappers(this.fresh('bin'), this.#options.version, script);
  }

  async close(): Promise<void> {
    await this.server.kill();
    this.chain.dispose();
  }

  #server(dataDirectory: string, name: string, keyring: string): LabServer {
    const { version, component } = this.#options;
    const { directory } = this.chain;
    return new LabServer(
      {
        dataDirectory,
        socket: join(directory, `${name}.sock`),
        errorLog: join(directory, `${name}.log`),
        ...(component ? {} : { keyring }),
        ...(version === undefined ? {} : { environment: { REDOUBT_STANDIN_VERSION: version } }),
      },
      ['--innodb-log-file-size=5M'],
    );
  }
}

const useComponent = (dataDirectory: string, keyring: string): void => {
  writeFileSync(join(dataDirectory, 'mysqld.my'), '{"components": "file://component_keyring_file"}');
  writeFileSync(join(dataDirectory, 'component_keyring_file.cnf'), JSON.stringify({ path: keyring, read_only: false }));
};

const wrappers = (directory: string, version: string | undefined, script: string): string => {
  mkdirSync(directory, { recursive: true });
  for (const program of PROGRAMS)
    writeFileSync(
      join(directory, program),
      `#!/bin/sh
for argument in "$@"; do case "$argument" in --target-dir=*) TARGET="\${argument#*=}";; esac; done
${version === undefined ? '' : `REDOUBT_STANDIN_VERSION=${version}; export REDOUBT_STANDIN_VERSION`}
PROGRAM='${programPath(program)}'
${program === 'xtrabackup' ? script : ''}
exec "$PROGRAM" "$@"
`,
      { mode: 0o755 },
    );
  return directory;
};
