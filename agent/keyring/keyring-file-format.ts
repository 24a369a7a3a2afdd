import type { KeyringKey } from './keyring-key.ts';

const HEADER = /^Keyring file version:([12])\.0/;
const HEADER_BYTES = 'Keyring file version:1.0'.length;
const FOOTER = Buffer.from('EOF');
/** Version 2.0 ends with a SHA-256 of what comes before. */
const DIGEST_BYTES: Readonly<Record<string, number>> = { '1': 0, '2': 32 };
/** Built into the server: obfuscation, not a secret. */
const PAD = Buffer.from('*305=Ljt0*!@$Hnm(*-9-w;:');
const WORD = 8;
const WORDS = 5;

const length = (content: Buffer, at: number): number => {
  const value = content.readBigUInt64LE(at);
  return value > BigInt(content.length) ? Number.NaN : Number(value);
};

/**
 * The keys in the file of MySQL's keyring_file plugin: a header, records of five little-endian words (record, name, type, user, key) and
 * their bytes, `EOF`. From the server's sources and the recorded files. Returns what is wrong with it, in words, where it is
 * no such file.
 */
export const parseKeyringFile = (content: Buffer): readonly KeyringKey[] | string => {
  if (content.length === 0) return 'it is empty';
  const version = HEADER.exec(content.toString('latin1', 0, HEADER_BYTES))?.[1];
  if (version === undefined) return 'it is not a file of the keyring_file plugin';
  const end = content.length - FOOTER.length - (DIGEST_BYTES[version] ?? 0);
  if (end < HEADER_BYTES || !content.subarray(end, end + FOOTER.length).equals(FOOTER))
    return 'it is cut or damaged: its end mark is not where it must be';
  const keys: KeyringKey[] = [];
  for (let at = HEADER_BYTES; at < end; ) {
    if (at + WORDS * WORD > end) return 'it is damaged: a record is cut';
    const [record, name, type, user, key] = Array.from({ length: WORDS }, (_, index) =>
      length(content, at + index * WORD),
    ) as [number, number, number, number, number];
    const used = WORDS * WORD + name + type + user + key;
    if (!(record >= used && at + record <= end)) return 'it is damaged: the lengths of a record do not fit';
    const from = at + WORDS * WORD;
    const keyAt = from + name + type + user;
    keys.push({
      name: content.toString('utf8', from, from + name),
      bytes: Buffer.from(
        content.subarray(keyAt, keyAt + key).map((byte, index) => byte ^ (PAD[index % PAD.length] as number)),
      ),
    });
    at += record;
  }
  return keys.length === 0 ? 'it holds no key' : keys;
};
