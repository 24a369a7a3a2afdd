import { existsSync, renameSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { SYSTEM_FILE, tablespaceFiles } from './data-files.ts';
import type { MasterKeys, Unwrapped } from './encryption-info.ts';
import { Tablespace } from './tablespace.ts';

export type NotDecryptable = (path: string, why: Exclude<Unwrapped['kind'], 'key'>) => void;

/** The tablespaces of a data directory that could be opened, by space. */
export class Tablespaces {
  readonly directory: string;
  readonly masters: MasterKeys;
  readonly #notDecryptable: NotDecryptable;
  readonly #bySpace = new Map<number, Tablespace>();
  /** Files that are there but cannot be decrypted. */
  readonly #closed = new Map<number, string>();

  constructor(directory: string, masters: MasterKeys, notDecryptable: NotDecryptable) {
    this.directory = directory;
    this.masters = masters;
    this.#notDecryptable = notDecryptable;
  }

  /** Opens what is there. Says so of each file it cannot decrypt. */
  openAll(): void {
    if (existsSync(join(this.directory, SYSTEM_FILE))) this.open(SYSTEM_FILE);
    for (const path of tablespaceFiles(this.directory)) this.open(path);
  }

  open(path: string): Tablespace | undefined {
    const opened = Tablespace.open(this.directory, path, this.masters);
    if (opened.kind === 'absent') return undefined;
    if (opened.kind === 'not-decryptable') {
      this.#notDecryptable(path, opened.why);
      this.#closed.set(opened.space, path);
      return undefined;
    }
    this.#closed.delete(opened.tablespace.space);
    // A second file of a space that is known is left alone.
    if (this.#bySpace.has(opened.tablespace.space)) opened.tablespace.close();
    else this.#bySpace.set(opened.tablespace.space, opened.tablespace);
    return opened.tablespace;
  }

  get(space: number): Tablespace | undefined {
    return this.#bySpace.get(space);
  }

  /** The file of a space that is there but cannot be decrypted. */
  closedPath(space: number): string | undefined {
    return this.#closed.get(space);
  }

  all(): readonly Tablespace[] {
    return [...this.#bySpace.values()];
  }

  create(path: string, space: number, flags: number): Tablespace {
    const tablespace = Tablespace.create(this.directory, path, space, flags);
    this.#closed.delete(space);
    this.#bySpace.set(space, tablespace);
    return tablespace;
  }

  /** What recovery does where `create` is in the redo: the file may be there already, even without its key. */
  recreate(path: string, space: number, flags: number): void {
    if (this.#bySpace.has(space)) return;
    const unopened = this.#closed.get(space);
    if (unopened !== undefined) unlinkSync(join(this.directory, unopened));
    else if (existsSync(join(this.directory, path))) return;
    this.create(path, space, flags);
  }

  /** Whether there was such a space. */
  delete(space: number): boolean {
    const tablespace = this.#bySpace.get(space);
    const path = tablespace?.path ?? this.#closed.get(space);
    tablespace?.close();
    this.#bySpace.delete(space);
    this.#closed.delete(space);
    if (path === undefined) return false;
    unlinkSync(join(this.directory, path));
    return true;
  }

  rename(space: number, to: string): void {
    const tablespace = this.#bySpace.get(space);
    if (!tablespace || tablespace.path === to) return;
    renameSync(join(this.directory, tablespace.path), join(this.directory, to));
    // It stays open: recovery may know its key, although its first page does not hold that yet.
    tablespace.path = to;
  }

  close(): void {
    for (const tablespace of this.#bySpace.values()) tablespace.close();
    this.#bySpace.clear();
  }
}
