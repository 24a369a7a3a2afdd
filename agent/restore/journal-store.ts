import type { RestoreJournal } from './journal.ts';
import { writeJournal } from './journal-file.ts';

/** The journal of a running restore: each change is on the disk before anybody acts on it, one after the other. */
export class JournalStore {
  readonly #staging: string;
  #current: RestoreJournal;
  #last: Promise<unknown> = Promise.resolve();

  constructor(staging: string, journal: RestoreJournal) {
    this.#staging = staging;
    this.#current = journal;
  }

  get current(): RestoreJournal {
    return this.#current;
  }

  /** Downloads and prepares report at the same time: `change` sees what the one before it made. */
  change(change: (journal: RestoreJournal) => RestoreJournal): Promise<void> {
    const mine = this.#last.then(async () => {
      const next = change(this.#current);
      await writeJournal(this.#staging, next);
      this.#current = next;
    });
    this.#last = mine.catch(() => undefined);
    return mine;
  }
}
