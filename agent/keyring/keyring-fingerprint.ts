import { createHmac, hkdfSync } from 'node:crypto';
import type { KeyringKey } from './keyring-key.ts';

const TAG_DIGITS = 16;

/** Names contents of keyrings so that they can be compared without telling anything of them: for one chain, under its data key. */
export class KeyringFingerprint {
  readonly #key: Buffer;

  constructor(dataKey: Buffer) {
    this.#key = Buffer.from(hkdfSync('sha256', dataKey, Buffer.alloc(0), 'redoubt keyring', 32));
  }

  /** Of an escrow document. */
  of(document: Buffer): string {
    return createHmac('sha256', this.#key).update(document).digest('hex');
  }

  /**
   * `<name>#<tag>`: the tag is of the key's bytes, so a key replaced under its old name is another one. The engine takes it for the same
   * and loses tables silently (recorded: 46).
   */
  keyId({ name, bytes }: KeyringKey): string {
    const tag = createHmac('sha256', this.#key).update('key\0').update(name).update('\0').update(bytes).digest('hex');
    return `${name}#${tag.slice(0, TAG_DIGITS)}`;
  }

  /** In order of name. */
  keyIds(keys: readonly KeyringKey[]): readonly string[] {
    return keys.map((key) => this.keyId(key)).sort();
  }

  destroy(): void {
    this.#key.fill(0);
  }
}

/** The name in a key id. */
export const keyNameOf = (keyId: string): string => keyId.replace(/#[0-9a-f]{16}$/, '');
