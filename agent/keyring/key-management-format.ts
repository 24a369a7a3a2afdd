import { createDecipheriv, createHash, pbkdf2Sync } from 'node:crypto';
import type { KeyringKey } from './keyring-key.ts';

const SALTED = Buffer.from('Salted__');
const SALT_BYTES = 8;
const KEY_BYTES = 32;
const IV_BYTES = 16;
/** The server takes no more of the key file's own key. */
const MAX_FILE_KEY = 256;

/** What `openssl enc -aes-256-cbc -md` was given: the first is MariaDB's own default, later servers let it be chosen. */
const DIGESTS = ['sha1', 'sha256', 'sha512', 'sha384', 'sha224'] as const;

/** OpenSSL's EVP_BytesToKey with one round. */
const bytesToKey = (password: Buffer, salt: Buffer, digest: string): Buffer => {
  let derived = Buffer.alloc(0);
  let block = Buffer.alloc(0);
  while (derived.length < KEY_BYTES + IV_BYTES) {
    block = createHash(digest).update(block).update(password).update(salt).digest();
    derived = Buffer.concat([derived, block]);
  }
  return derived;
};

const decrypted = (content: Buffer, fileKey: Buffer, digest: string, iterations: number): Buffer | undefined => {
  const salt = content.subarray(SALTED.length, SALTED.length + SALT_BYTES);
  // The first line, as the server reads it.
  const password = Buffer.from(
    fileKey
      .toString('latin1')
      .replace(/[\r\n].*$/s, '')
      .slice(0, MAX_FILE_KEY),
    'latin1',
  );
  const derived =
    iterations > 0
      ? pbkdf2Sync(password, salt, iterations, KEY_BYTES + IV_BYTES, digest)
      : bytesToKey(password, salt, digest);
  try {
    const decipher = createDecipheriv(
      'aes-256-cbc',
      derived.subarray(0, KEY_BYTES),
      derived.subarray(KEY_BYTES, KEY_BYTES + IV_BYTES),
    );
    return Buffer.concat([decipher.update(content.subarray(SALTED.length + SALT_BYTES)), decipher.final()]);
  } catch {
    return undefined;
  } finally {
    derived.fill(0);
  }
};

const parseLines = (plain: Buffer): readonly KeyringKey[] | string => {
  const keys: KeyringKey[] = [];
  for (const line of plain.toString('latin1').split('\n')) {
    const text = line.replace(/#.*$/, '').trim();
    if (text === '') continue;
    const match = /^(\d+)\s*;\s*((?:[0-9A-Fa-f]{2})+)$/.exec(text);
    // Not a word of the line itself: it may be a key.
    if (match?.[1] === undefined || match[2] === undefined || ![32, 48, 64].includes(match[2].length))
      return 'it is not a key file of file_key_management: each line is an id, a semicolon and a key in hex';
    keys.push({ name: match[1], bytes: Buffer.from(match[2], 'hex') });
  }
  return keys.length === 0 ? 'it holds no key' : keys;
};

/**
 * The keys in a key file of MariaDB's file_key_management: lines `<id>;<hex>`, comments after `#`; encrypted where it begins with
 * OpenSSL's `Salted__`, then `fileKey` (the content of the file that `file_key_management_filekey=FILE:…` names) opens it, with PBKDF2 where
 * the server is told so. Returns what is wrong with it, in words.
 */
export const parseKeyManagementFile = (
  content: Buffer,
  fileKey: Buffer | undefined,
  pbkdf2Iterations = 0,
): readonly KeyringKey[] | string => {
  if (content.length === 0) return 'it is empty';
  if (!content.subarray(0, SALTED.length).equals(SALTED)) return parseLines(content);
  if (fileKey === undefined) return 'it is encrypted, and the cluster file names no keyFileKey that opens it';
  for (const digest of DIGESTS) {
    const plain = decrypted(content, fileKey, digest, pbkdf2Iterations);
    const keys = plain === undefined ? 'it is not opened' : parseLines(plain);
    plain?.fill(0);
    if (typeof keys !== 'string') return keys;
  }
  return 'its keyFileKey does not open it';
};
