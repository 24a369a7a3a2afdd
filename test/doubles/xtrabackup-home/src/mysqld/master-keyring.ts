import { randomBytes } from 'node:crypto';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { type MasterKeys, masterKeyName } from '../../../page-store/encryption-info.ts';
import { type KeyringKey, readKeyringFile, writeKeyringFile } from '../../../page-store/keyring-file.ts';

/** What came of loading a keyring file. */
export type KeyringState = 'absent' | 'empty' | 'loaded' | 'unusable';

/** A keyring in a file, as the server's plugin or component and XtraBackup use it. */
export class MasterKeyring implements MasterKeys {
  readonly #path: string | undefined;
  readonly #component: boolean;
  #keys: readonly KeyringKey[] = [];
  readonly state: KeyringState;

  constructor(path: string | undefined, component = false) {
    this.#path = path;
    this.#component = component;
    this.state = this.#load();
  }

  get size(): number {
    return this.#keys.length;
  }

  /** Whether keys can be stored: the plugin makes a file that is absent. */
  get usable(): boolean {
    return this.#path !== undefined && this.state !== 'unusable';
  }

  get(name: string): Buffer | undefined {
    return this.#keys.find(({ id }) => id === name)?.key;
  }

  /** The highest number of a master key of this server; 0 for none. */
  newest(uuid: string): number {
    const prefix = masterKeyName(uuid, 0).slice(0, -1);
    return Math.max(
      0,
      ...this.#keys.filter(({ id }) => id.startsWith(prefix)).map(({ id }) => Number(id.slice(prefix.length))),
    );
  }

  /** Makes the next master key and stores it before anything is wrapped by it. */
  generate(uuid: string): { readonly id: number; readonly key: Buffer } {
    const id = this.newest(uuid) + 1;
    const key = randomBytes(32);
    this.store(masterKeyName(uuid, id), key);
    return { id, key };
  }

  store(name: string, key: Buffer): void {
    if (this.#path === undefined) throw new Error('there is no keyring');
    this.#keys = [...this.#keys, { id: name, type: 'AES', user: '', key }];
    writeKeyringFile(this.#path, this.#keys, this.#component);
  }

  #load(): KeyringState {
    if (this.#path === undefined || !existsSync(this.#path)) return 'absent';
    try {
      // The plugin opens the file for writing too.
      accessSync(this.#path, constants.R_OK | constants.W_OK);
      if (statSync(this.#path).isDirectory()) return 'unusable';
      this.#keys = readKeyringFile(this.#path);
      return statSync(this.#path).size === 0 ? 'empty' : 'loaded';
    } catch {
      return 'unusable';
    }
  }
}
