import { open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type RestoreJournal, restoreJournalSchema } from './journal.ts';
import { syncDirectory } from './sync-directory.ts';

const NAME = 'journal.json';

/**
 * The journal of the restore that works in `staging`; `undefined` where there is none or it cannot be read as one. Then nothing is known of
 * what lies beside it, and it must not be used.
 */
export const readJournal = async (staging: string): Promise<RestoreJournal | undefined> => {
  let text: string;
  try {
    text = await readFile(join(staging, NAME), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return restoreJournalSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
};

/** Written whole beside the old one, synced, and renamed over it: whenever the power goes, one of the two is there. */
export const writeJournal = async (staging: string, journal: RestoreJournal): Promise<void> => {
  const path = join(staging, NAME);
  const next = `${path}.next`;
  const file = await open(next, 'w', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(journal, undefined, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(next, path);
  await syncDirectory(dirname(path));
};
