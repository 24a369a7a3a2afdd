import { rowsInPage } from './heap.ts';
import { ENCRYPTED_FLAG } from './page.ts';
import type { Tablespace } from './tablespace.ts';

/** Where the dictionary begins in the system tablespace. */
export const FIRST_DICTIONARY_PAGE = 8;

export interface DictionaryEntry {
  /** `app/enc`; empty for a tablespace that was dropped: its number is never used again. */
  readonly name: string;
  readonly space: number;
  readonly flags: number;
}

export const isEncrypted = (entry: DictionaryEntry): boolean => (entry.flags & ENCRYPTED_FLAG) !== 0;

export const decodeEntry = (row: Buffer): DictionaryEntry => JSON.parse(row.toString()) as DictionaryEntry;
export const encodeEntry = (entry: DictionaryEntry): Buffer => Buffer.from(JSON.stringify(entry));

/** The dictionary as it lies in the file of the system tablespace. */
export const readDictionary = (system: Tablespace): readonly DictionaryEntry[] => {
  const entries: DictionaryEntry[] = [];
  for (let number = FIRST_DICTIONARY_PAGE; number < system.pages; number++)
    for (const { value } of rowsInPage(system.read(number))) entries.push(decodeEntry(value));
  return entries.filter(({ name }) => name !== '');
};
