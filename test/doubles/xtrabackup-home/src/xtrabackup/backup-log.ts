import { closeSync, existsSync, openSync, readSync, renameSync, statSync, writeSync } from 'node:fs';
import { BLOCK, blockStart, LOG_HEADER } from '../../../page-store/redo-block.ts';
import { CREATOR, firstLsn, readCheckpoint } from '../../../page-store/redo-log.ts';
import type { RedoBlocks } from '../../../page-store/scan-redo.ts';
import { writeZeroes } from '../write-all.ts';
import { Exit, tell } from './console.ts';

const MINIMUM = 8 * 1024 * 1024;
const CREATED_BY = 'xtrabkup';

/** The redo of a backup while it is applied: under the name InnoDB expects, and back again. */
export class BackupLog implements RedoBlocks {
  readonly #file: number;
  readonly #first: number;
  readonly #temporary: string;
  readonly #own: string;
  readonly checkpointLsn: number;
  readonly bytes: number;

  private constructor(own: string, temporary: string, header: Buffer) {
    this.#own = own;
    this.#temporary = temporary;
    this.#first = firstLsn(header);
    this.checkpointLsn = readCheckpoint(header)?.lsn ?? this.#first;
    const size = statSync(own).size;
    this.bytes = Math.max(MINIMUM, Math.ceil(size / 2 ** 20) * 2 ** 20);
    const file = openSync(own, 'r+');
    if (writeZeroes(file, size, this.bytes) < this.bytes) {
      tell.tool('Error: xtrabackup_init_temp_log() failed.');
      throw new Exit(1);
    }
    this.#file = file;
    tell.tool(`xtrabackup_logfile detected: size=${this.bytes}, start_lsn=(${this.checkpointLsn})`);
    renameSync(own, temporary);
  }

  /** `used` where it was applied before. Throws `Exit` where there is none. */
  static open(directory: string): BackupLog | 'used' {
    const own = `${directory}/xtrabackup_logfile`;
    const temporary = `${directory}/ib_logfile0`;
    if (!existsSync(own)) {
      tell.innodb('Operating system error number 2 in a file operation.');
      tell.innodb('The error means the system cannot find the path specified.');
      tell.tool(`Warning: cannot open ${own}. will try to find.`);
      if (!existsSync(temporary) || !isBackupLog(readHeader(temporary))) {
        tell.innodb('Operating system error number 2 in a file operation.');
        tell.innodb('The error means the system cannot find the path specified.');
        tell.bare(`  xtrabackup: Fatal error: cannot find ${own}.`);
        tell.tool('Error: xtrabackup_init_temp_log() failed.');
        throw new Exit(1);
      }
      tell.bare("  xtrabackup: 'ib_logfile0' seems to be 'xtrabackup_logfile'. will retry.");
      renameSync(temporary, own);
    }
    const header = readHeader(own);
    if (!isBackupLog(header)) {
      tell.tool("notice: xtrabackup_logfile was already used to '--prepare'.");
      return 'used';
    }
    return new BackupLog(own, temporary, header);
  }

  blockAt(lsn: number): Buffer | undefined {
    const block = Buffer.alloc(BLOCK);
    const at = LOG_HEADER + blockStart(lsn) - this.#first;
    return readSync(this.#file, block, 0, BLOCK, at) === BLOCK ? block : undefined;
  }

  /** Marks it as used and gives it its name back. */
  finish(): void {
    writeSync(this.#file, Buffer.alloc(32), 0, 32, CREATOR);
    closeSync(this.#file);
    renameSync(this.#temporary, this.#own);
  }
}

const readHeader = (path: string): Buffer => {
  const file = openSync(path, 'r');
  const header = Buffer.alloc(LOG_HEADER);
  readSync(file, header, 0, LOG_HEADER, 0);
  closeSync(file);
  return header;
};

const isBackupLog = (header: Buffer): boolean => header.toString('latin1', CREATOR, CREATOR + 8) === CREATED_BY;
