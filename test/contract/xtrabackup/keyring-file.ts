import { readFileSync, writeFileSync } from 'node:fs';

// Changes keyring files without knowing what is in the keys: records of five lengths, three strings and the key.

const HEADER = 'Keyring file version:1.0';

interface Entry {
  readonly id: string;
  readonly bytes: Buffer;
}

const entriesOf = (content: Buffer): readonly Entry[] => {
  const entries: Entry[] = [];
  for (let at = HEADER.length; content.toString('latin1', at, at + 3) !== 'EOF'; ) {
    const size = Number(content.readBigUInt64LE(at));
    const length = Number(content.readBigUInt64LE(at + 8));
    entries.push({ id: content.toString('latin1', at + 40, at + 40 + length), bytes: content.subarray(at, at + size) });
    at += size;
  }
  return entries;
};

export const keyIds = (path: string): readonly string[] => entriesOf(readFileSync(path)).map(({ id }) => id);

/** Name and bytes of each key, in one comparable form. */
export const keyRecords = (path: string): readonly string[] =>
  entriesOf(readFileSync(path)).map(({ id, bytes }) => `${id} ${bytes.toString('hex')}`);

/** Writes to `to` the keys of `from` that `wanted` names. */
export const keepKeys = (from: string, to: string, wanted: (id: string) => boolean): void => {
  const kept = entriesOf(readFileSync(from)).filter(({ id }) => wanted(id));
  writeFileSync(to, Buffer.concat([Buffer.from(HEADER), ...kept.map(({ bytes }) => bytes), Buffer.from('EOF')]));
};

/** Writes to `to` the keys of `from`, under the same names and with other bytes. */
export const spoilKeys = (from: string, to: string): void => {
  const content = Buffer.from(readFileSync(from));
  let at = HEADER.length;
  for (const { bytes } of entriesOf(content)) {
    const [, id, type, user] = [0, 1, 2, 3].map((place) => Number(bytes.readBigUInt64LE(place * 8))) as [
      number,
      number,
      number,
      number,
    ];
    const key = at + 40 + id + type + user;
    content[key] = (content[key] as number) ^ 0xff;
    at += bytes.length;
  }
  writeFileSync(to, content);
};
