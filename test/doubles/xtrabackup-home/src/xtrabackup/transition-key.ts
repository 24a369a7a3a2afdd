import { createCipheriv, createDecipheriv, pbkdf2Sync, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { TablespaceKey } from '../../../page-store/page.ts';
import type { MasterKeyring } from '../mysqld/master-keyring.ts';
import { toolVersion } from '../tool-version.ts';
import { Exit, tell } from './console.ts';
import type { Options } from './options.ts';

// `xtrabackup_keys`: the keys of tablespaces under a key that no keyring of a server is needed for.

const MAGIC = 'KEYSV01';
const SALT = 64;
const ENTRY = 4 + 32 + 32 + 4;
const ITERATIONS = 32_768;
/** Zero-filled name of the key in the keyring; all zero for a passphrase. */
const nameBytes = (): number => (toolVersion().modern ? 77 : 83);

const derived = (secret: Buffer, salt: Buffer): Buffer => pbkdf2Sync(secret, salt, ITERATIONS, 32, 'sha256');

const ecb = (data: Buffer, key: Buffer, decrypt: boolean): Buffer => {
  const cipher = (decrypt ? createDecipheriv : createCipheriv)('aes-256-ecb', key, null).setAutoPadding(false);
  return Buffer.concat([cipher.update(data), cipher.final()]);
};

const supported = (): boolean => toolVersion().atLeast('2.4.11');

export class TransitionKey {
  readonly #secret: Buffer;
  readonly #name: string;

  private constructor(secret: Buffer, name: string) {
    this.#secret = secret;
    this.#name = name;
  }

  /** `undefined` where neither option is given, or the version knows none of them. */
  static forBackup(options: Options, keyring: MasterKeyring, uuid: string): TransitionKey | undefined {
    if (!supported()) return undefined;
    const passphrase = options.get('transition-key');
    if (options.has('generate-transition-key')) {
      if (passphrase !== undefined) {
        tell.bare('Error: --transition-key and --generate-transition-key are mutually exclusive');
        throw new Exit(1);
      }
      if (!keyring.usable) {
        tell.bare("Can't generate the key, please check the keyring plugin is loaded.");
        throw new Exit(1);
      }
      const name = `XBKey-${uuid}-${randomBytes(24).toString('base64')}`;
      const key = randomBytes(32);
      keyring.store(name, key);
      return new TransitionKey(key, name);
    }
    return passphrase === undefined ? undefined : new TransitionKey(Buffer.from(passphrase), '');
  }

  /**
   * The keys in `content`. Throws `Exit` where they do not open: with `secret`, the passphrase, or with the key of the keyring that
   * the file names.
   */
  static open(
    content: Buffer,
    passphrase: string | undefined,
    keyring: MasterKeyring,
  ): ReadonlyMap<number, TablespaceKey> {
    const fail = (text: string): never => {
      tell.bare(text);
      tell.bare('failed to load tablespace keys');
      throw new Exit(1);
    };
    if (content.length < MAGIC.length) fail('Error reading xtrabackup_keys: failed to read magic.');
    if (content.toString('latin1', 0, MAGIC.length) !== MAGIC) fail('Error reading xtrabackup_keys: wrong magic.');
    const salt = content.subarray(MAGIC.length, MAGIC.length + SALT);
    if (salt.length < SALT) fail('Error reading xtrabackup_keys: failed to read salt.');
    const names = content.subarray(MAGIC.length + SALT, MAGIC.length + SALT + nameBytes());
    if (names.length < nameBytes()) fail('Error reading xtrabackup_keys: failed to read transition key name.');
    const name = names.toString('latin1').replace(/\0+$/, '');
    const secret = name === '' ? Buffer.from(passphrase ?? '') : keyring.get(name);
    if (!secret) return fail("Can't fetch the key, please check the keyring plugin is loaded.");
    const key = derived(secret, salt);
    const keys = new Map<number, TablespaceKey>();
    for (let at = MAGIC.length + SALT + nameBytes(); at + ENTRY <= content.length; at += ENTRY) {
      const space = content.readUInt32LE(at);
      const plain = ecb(content.subarray(at + 4, at + 68), key, true);
      if (crc32(plain) !== content.readUInt32LE(at + 68))
        fail(
          `Error reading xtrabackup_keys: failed to decrypt key and iv for tablespace ${space}. Wrong transition key?`,
        );
      keys.set(space, { key: Buffer.from(plain.subarray(0, 32)), iv: Buffer.from(plain.subarray(32)) });
    }
    return keys;
  }

  encode(keys: ReadonlyMap<number, TablespaceKey>): Buffer {
    const salt = randomBytes(SALT);
    const key = derived(this.#secret, salt);
    const name = Buffer.alloc(nameBytes());
    name.write(this.#name, 0, 'latin1');
    return Buffer.concat([
      Buffer.from(MAGIC),
      salt,
      name,
      ...Array.from(keys, ([space, { key: tablespaceKey, iv }]) => {
        const entry = Buffer.alloc(ENTRY);
        const plain = Buffer.concat([tablespaceKey, iv]);
        entry.writeUInt32LE(space, 0);
        ecb(plain, key, false).copy(entry, 4);
        entry.writeUInt32LE(crc32(plain), 68);
        return entry;
      }),
    ]);
  }
}
