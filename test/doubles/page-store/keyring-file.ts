import { readFileSync, writeFileSync } from 'node:fs';

// The file of MySQL's keyring_file plugin.

const HEADER = 'Keyring file version:1.0';
const FOOTER = 'EOF';
/** Built into the server: obfuscation, no secret. */
const PAD = Buffer.from('*305=Ljt0*!@$Hnm(*-9-w;:');
const WORD = 8;

export interface KeyringKey {
  /** `INNODBKey-<server uuid>-<n>`. */
  readonly id: string;
  readonly type: string;
  readonly user: string;
  readonly key: Buffer;
}

const padded = (key: Buffer): Buffer =>
  Buffer.from(key.map((byte, index) => byte ^ (PAD[index % PAD.length] as number)));

const encodeKey = (key: KeyringKey): Buffer => {
  const parts = [Buffer.from(key.id), Buffer.from(key.type), Buffer.from(key.user), padded(key.key)];
  const used = 5 * WORD + parts.reduce((sum, part) => sum + part.length, 0);
  const size = Math.ceil(used / WORD) * WORD;
  const record = Buffer.alloc(size);
  for (const [index, length] of [size, ...parts.map((part) => part.length)].entries())
    record.writeBigUInt64LE(BigInt(length), index * WORD);
  Buffer.concat(parts).copy(record, 5 * WORD);
  return record;
};

/** Throws where `content` is not a keyring; an empty file is one without keys. */
export const parseKeyring = (content: Buffer): readonly KeyringKey[] => {
  if (content.length === 0) return [];
  if (content.toString('latin1', 0, HEADER.length) !== HEADER) throw new Error('not a keyring file');
  if (content.toString('latin1', content.length - FOOTER.length) !== FOOTER) throw new Error('the keyring file is cut');
  const keys: KeyringKey[] = [];
  let at = HEADER.length;
  while (at < content.length - FOOTER.length) {
    const [size, id, type, user, key] = Array.from({ length: 5 }, (_, index) =>
      Number(content.readBigUInt64LE(at + index * WORD)),
    ) as [number, number, number, number, number];
    let from = at + 5 * WORD;
    const take = (length: number): Buffer => {
      from += length;
      return content.subarray(from - length, from);
    };
    keys.push({
      id: take(id).toString(),
      type: take(type).toString(),
      user: take(user).toString(),
      key: padded(take(key)),
    });
    at += size;
  }
  return keys;
};

export const encodeKeyring = (keys: readonly KeyringKey[]): Buffer =>
  Buffer.concat([Buffer.from(HEADER), ...keys.map(encodeKey), Buffer.from(FOOTER)]);

/** The data file of component_keyring_file: JSON, as the server's json_writer.cc makes it. */
interface ComponentElement {
  readonly user: string;
  readonly data_id: string;
  readonly data_type: string;
  readonly data: string;
  readonly extension: readonly unknown[];
}

const parseComponent = (content: Buffer): readonly KeyringKey[] =>
  (JSON.parse(content.toString()) as { elements: readonly ComponentElement[] }).elements.map((element) => ({
    id: element.data_id,
    type: element.data_type,
    user: element.user,
    key: Buffer.from(element.data, 'hex'),
  }));

const encodeComponent = (keys: readonly KeyringKey[]): string =>
  JSON.stringify({
    version: '1.0',
    elements: keys.map(({ id, type, user, key }) => ({
      user,
      data_id: id,
      data_type: type,
      data: key.toString('hex').toUpperCase(),
      extension: [],
    })),
  });

export const readKeyringFile = (path: string): readonly KeyringKey[] => {
  const content = readFileSync(path);
  return content[0] === '{'.charCodeAt(0) ? parseComponent(content) : parseKeyring(content);
};

export const writeKeyringFile = (path: string, keys: readonly KeyringKey[], component = false): void => {
  writeFileSync(path, component ? encodeComponent(keys) : encodeKeyring(keys), { mode: 0o640 });
};
