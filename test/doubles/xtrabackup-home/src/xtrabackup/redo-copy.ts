import { INFO_AT, isInfo, unwrapKey } from '../../../page-store/encryption-info.ts';
import {
  BLOCK,
  blockChecksum,
  blockNumber,
  blockStart,
  LOG_HEADER,
  storedChecksum,
  storedNumber,
  usedBytes,
} from '../../../page-store/redo-block.ts';
import { checkpointAt, checkpointBlock, logHeader, type RedoLog } from '../../../page-store/redo-log.ts';
import { scanRedo } from '../../../page-store/scan-redo.ts';
import type { BackupKeys } from './backup-keys.ts';
import { crash, Exit, tell } from './console.ts';
import type { SinkFile } from './data-sink.ts';
import { tellCorruptRecord } from './tablespace-messages.ts';

/** Follows the server's redo from its checkpoint on and keeps a copy of it. */
export class RedoCopy {
  readonly #log: RedoLog;
  readonly #target: SinkFile;
  readonly #keys: BackupKeys;
  readonly startLsn: number;
  /** The next block to copy. */
  #next: number;
  #scanned: number;
  #parsed: number;
  #parsing = true;

  constructor(log: RedoLog, target: SinkFile, keys: BackupKeys, now: Date) {
    this.#log = log;
    this.#target = target;
    this.#keys = keys;
    const checkpoint = log.rereadCheckpoint();
    this.startLsn = checkpoint.lsn;
    this.#next = blockStart(checkpoint.lsn);
    this.#scanned = checkpoint.lsn;
    this.#parsed = checkpoint.lsn;
    const header = Buffer.alloc(LOG_HEADER);
    logHeader(checkpoint.lsn, `xtrabkup ${now.toISOString().slice(0, 19)}`).copy(header);
    checkpointBlock(checkpoint).copy(header, checkpointAt(checkpoint.number));
    target.write(header);
  }

  get scannedLsn(): number {
    return this.#scanned;
  }

  get checkpointLsn(): number {
    return this.#log.rereadCheckpoint().lsn;
  }

  /** Copies what is there; the block that is not full only at the end. Throws `Exit` where the log was overwritten. */
  follow(last: boolean): void {
    for (;;) {
      const block = this.#log.blockAt(this.#next);
      const [expected, found] = [blockNumber(this.#next), storedNumber(block)];
      if (found !== expected) {
        if (found > expected) {
          tell.tool('error: log block numbers mismatch:');
          tell.tool(`error: expected log block no. ${expected}, but got no. ${found} from the log file.`);
          tell.tool(
            'error: it looks like InnoDB log has wrapped around before xtrabackup could process all records due to either log copying being too slow, or  log files being too small.',
          );
          tell.tool('Error: xtrabackup_copy_logfile() failed.');
          throw new Exit(1);
        }
        break;
      }
      if (storedChecksum(block) !== blockChecksum(block)) break;
      const used = usedBytes(block);
      this.#scanned = used === BLOCK ? this.#next + BLOCK : this.#next + used;
      if (used < BLOCK) {
        if (last) this.#target.write(block);
        break;
      }
      this.#target.write(block);
      this.#next += BLOCK;
    }
    this.#parse();
  }

  /** XtraBackup reads the records as they pass: for keys it does not know, and for indexes built without redo. */
  #parse(): void {
    if (!this.#parsing) return;
    const scan = scanRedo(this.#log, this.#parsed);
    for (const { records, start } of scan.groups) {
      for (const record of records) {
        if (record.kind === 'index-load') {
          tell.innodb(`Last flushed lsn: ${this.startLsn} load_index lsn ${start}`);
          tell.raw(
            '[FATAL] InnoDB: An optimized(without redo logging) DDLoperation has been performed. All modified pages may not have been flushed to the disk yet. \n    PXB will not be able take a consistent backup. Retry the backup operation',
          );
          crash(6);
        }
        if (record.kind !== 'write' || record.page !== 0 || record.offset !== INFO_AT || !isInfo(record.data)) continue;
        const unwrapped = unwrapKey(record.data, this.#keys.masters, record.space);
        if (unwrapped.kind === 'key') {
          this.#keys.note(record.space, unwrapped.key);
          continue;
        }
        tellCorruptRecord(record.space, start);
        this.#parsing = false;
        return;
      }
    }
    this.#parsed = scan.completeTo;
  }
}
