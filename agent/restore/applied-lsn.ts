import { type Lsn, parseLsn } from '#core/lsn.ts';

/**
 * Where InnoDB says the redo it read ends. Recorded: mariadb-backup 10.11.19 prints `End of log at LSN=2294713`, XtraBackup 2.4.7
 * `Doing recovery: scanned up to log sequence number 8777267 (45%)`, growing; both end at exactly the step's `last_lsn`.
 */
const ENDS = [/InnoDB: End of log at LSN=(\d+)/, /scanned up to log sequence number (\d+)/];

/** XtraBackup then starts InnoDB once more, on new log files: what that scans is not the backup's redo. */
const OVER = /InnoDB: Starting shutdown/;

/** Follows the lines of one prepare and knows how far the redo was applied: no engine compares that with `last_lsn`. */
export class AppliedLsn {
  #highest: Lsn | undefined;
  #over = false;

  note(line: string): void {
    if (this.#over) return;
    for (const pattern of ENDS) {
      const lsn = parseLsn(pattern.exec(line)?.[1] ?? '');
      if (lsn !== undefined && (this.#highest === undefined || lsn > this.#highest)) this.#highest = lsn;
    }
    // An increment's deltas may be applied by an instance that reads no redo and shuts down first.
    if (this.#highest !== undefined && OVER.test(line)) this.#over = true;
  }

  /** `undefined` where the engine said nothing of it, as when there was no redo to apply. */
  get highest(): Lsn | undefined {
    return this.#highest;
  }
}
