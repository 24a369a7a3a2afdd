import { readFileSync, writeFileSync } from 'node:fs';
import type { Encryption } from '#core/cluster-config.ts';
import type { Transition } from '#core/tablespace-encryption.ts';
import { XtrabackupLab, type XtrabackupLabOptions } from '#test/agent/keyring/xtrabackup-lab.ts';
import { programPath } from '#test/contract/xtrabackup/engine-home.ts';
import { keepKeys, keyIds, keyRecords } from '#test/contract/xtrabackup/keyring-file.ts';
import type { Answering, DatabaseUnderTest, TableOptions } from './database-under-test.ts';

const ROTATE = 'ALTER INSTANCE ROTATE INNODB MASTER KEY';

/** A MySQL with a keyring in a file: the stand-in, or the installation REDOUBT_XTRABACKUP_HOME names. */
export class MysqlUnderTest implements DatabaseUnderTest {
  readonly modes: readonly Encryption['mode'][] = ['sealed', 'native', 'native-and-sealed'];
  readonly transitions: readonly Transition[];
  readonly hasOwnIdentity = true;
  readonly #lab: XtrabackupLab;
  readonly #options: XtrabackupLabOptions;

  private constructor(lab: XtrabackupLab, options: XtrabackupLabOptions) {
    this.#lab = lab;
    this.#options = options;
    // 2.4.7, the one that was recorded and is installed elsewhere, has none yet.
    this.transitions = options.version === undefined ? ['none'] : ['none', 'passphrase', 'generated'];
  }

  static async create(options: XtrabackupLabOptions): Promise<MysqlUnderTest> {
    return new MysqlUnderTest(await XtrabackupLab.create(options), options);
  }

  get directory(): string {
    return this.#lab.directory;
  }

  get config(): DatabaseUnderTest['config'] {
    const { server, tablespaceEncryption } = this.#lab.chain;
    return { engine: 'xtrabackup', engineDirectory: this.#lab.engineDirectory, server, tablespaceEncryption };
  }

  get keyringFile(): string {
    return this.#lab.keyring;
  }

  keys(): readonly string[] {
    const all = this.#options.component
      ? (JSON.parse(readFileSync(this.keyringFile, 'utf8')).elements as readonly object[]).map((one) =>
          JSON.stringify(one),
        )
      : keyRecords(this.keyringFile);
    // What an engine generated for one backup, no tablespace needs.
    return all.filter((key) => !key.includes('XBKey-'));
  }

  get pid(): number {
    return this.#lab.server.pid;
  }

  query(sql: string) {
    return this.#lab.server.query(sql);
  }

  start(): Promise<void> {
    return this.#lab.server.start();
  }

  stop(): Promise<void> {
    return this.#lab.server.stop();
  }

  kill(): Promise<void> {
    return this.#lab.server.kill();
  }

  flush(): Promise<void> {
    return this.#lab.server.flush();
  }

  stayDirty(): Promise<void> {
    return this.#lab.server.stayDirty();
  }

  createOptions({ encrypted }: TableOptions): string {
    return this.alterOptions(encrypted);
  }

  alterOptions(encrypted: boolean): string {
    return `ENCRYPTION='${encrypted ? 'Y' : 'N'}'`;
  }

  async rotate(): Promise<void> {
    await this.query(ROTATE);
  }

  /** Every tablespace's own key is wrapped with the newest master key once that was rotated and the pages are written. */
  async pruneKeyring(): Promise<void> {
    await this.rotate();
    await this.stop();
    if (this.#options.component) {
      const { version, elements } = JSON.parse(readFileSync(this.keyringFile, 'utf8'));
      writeFileSync(this.keyringFile, JSON.stringify({ version, elements: elements.slice(-1) }));
    } else {
      const newest = keyIds(this.keyringFile).at(-1);
      keepKeys(this.keyringFile, this.keyringFile, (id) => id === newest);
    }
    await this.start();
  }

  clientCommand(sql: string): string {
    return `'${programPath('mysql')}' --no-defaults --user=root --socket='${this.config.server.socket}' -e "${sql}"`;
  }

  rotateCommand(): string {
    return this.clientCommand(ROTATE);
  }

  rebuild(): Promise<void> {
    return this.#lab.rebuild();
  }

  adoptDirectory(): void {
    this.#lab.configureKeyring();
  }

  engineThat(script: string): string {
    return this.#lab.engineThatFirst(`case "$*" in *--backup*)\n${script}\nexit;; esac`);
  }

  lookAt<T>(dataDirectory: string, keyring: string, look: (server: Answering) => Promise<T>): Promise<T> {
    return this.#lab.lookAt(dataDirectory, keyring, look);
  }

  close(): Promise<void> {
    return this.#lab.close();
  }
}
