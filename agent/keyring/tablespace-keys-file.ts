/** What the engine puts the keys of encrypted tablespaces into, for a transition key to open. */
export const TABLESPACE_KEYS_FILE = 'xtrabackup_keys';

const MAGIC = 'KEYSV01';
const SALT_BYTES = 64;
/** The name of the transition key, zero-filled: 2.4.20 and 8.0, by their sources. */
const NAME_BYTES = [83, 77] as const;
/** Space id, key and IV, their checksum. */
const ENTRY_BYTES = 4 + 64 + 4;

/**
 * The ids of the tablespaces whose key is in `content`, an `xtrabackup_keys`: they stand there in clear. `undefined` where it is of a form that
 * nobody described.
 */
export const spacesWithKey = (content: Buffer): ReadonlySet<number> | undefined => {
  if (content.toString('latin1', 0, MAGIC.length) !== MAGIC) return undefined;
  const header = NAME_BYTES.map((name) => MAGIC.length + SALT_BYTES + name).find(
    (bytes) => content.length >= bytes && (content.length - bytes) % ENTRY_BYTES === 0,
  );
  if (header === undefined) return undefined;
  const spaces = new Set<number>();
  for (let at = header; at < content.length; at += ENTRY_BYTES) spaces.add(content.readUInt32LE(at));
  return spaces;
};
