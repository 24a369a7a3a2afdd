import { appendFileSync, existsSync, readdirSync, readFileSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a binary log begins with, so that its first position is the familiar one. */
const HEAD = Buffer.alloc(154, '\xfebin', 'latin1');

/** A binary log as far as positions and GTIDs go: its events are the statements' text. */
export class Binlog {
  readonly #directory: string;
  readonly #base: string;
  readonly #uuid: string;
  readonly #gtids: boolean;
  #number = 0;
  #executed = 0;

  /** Starts a new file, as a server does whenever it starts. */
  constructor(directory: string, base: string, uuid: string, gtids: boolean) {
    this.#directory = directory;
    this.#base = base;
    this.#uuid = uuid;
    this.#gtids = gtids;
    for (const file of this.#files()) {
      this.#number = Number(file.slice(base.length + 1));
      this.#executed += readFileSync(join(directory, file), 'utf8')
        .split('\n')
        .filter((line) => line.includes(`${uuid}:`)).length;
    }
    this.rotate();
  }

  get file(): string {
    return `${this.#base}.${String(this.#number).padStart(6, '0')}`;
  }

  get position(): number {
    return statSync(join(this.#directory, this.file)).size;
  }

  get executedGtids(): string {
    if (!this.#gtids || this.#executed === 0) return '';
    return `${this.#uuid}:1${this.#executed > 1 ? `-${this.#executed}` : ''}`;
  }

  append(sql: string): void {
    if (this.#gtids) this.#executed += 1;
    const gtid = this.#gtids ? `${this.#uuid}:${this.#executed} ` : '';
    appendFileSync(join(this.#directory, this.file), `${gtid}${sql.slice(0, 2000).replaceAll('\n', ' ')}\n`);
  }

  rotate(): void {
    this.#number += 1;
    writeFileSync(join(this.#directory, this.file), HEAD, { mode: 0o640 });
    this.#writeIndex();
  }

  reset(): void {
    for (const file of this.#files()) unlinkSync(join(this.#directory, file));
    this.#number = 0;
    this.#executed = 0;
    this.rotate();
  }

  #files(): readonly string[] {
    return existsSync(this.#directory)
      ? readdirSync(this.#directory)
          .filter((name) => name.startsWith(`${this.#base}.`) && /\.\d{6}$/.test(name))
          .sort()
      : [];
  }

  #writeIndex(): void {
    writeFileSync(
      join(this.#directory, `${this.#base}.index`),
      this.#files()
        .map((file) => `./${file}\n`)
        .join(''),
      { mode: 0o640 },
    );
  }
}
