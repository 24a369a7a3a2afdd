import { closeSync, existsSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { BLOCK, BLOCK_HEADER, blockStart, fillBlock, LOG_HEADER, lsnAfter, newBlock, usedBytes } from './redo-block.ts';
import { encodeGroup } from './redo-record.ts';

const START_LSN = 8;
export const CREATOR = 16;
const CHECKPOINTS = [BLOCK, 3 * BLOCK] as const;

export const logFileName = (index: number): string => `ib_logfile${index}`;

export interface Checkpoint {
  readonly number: number;
  readonly lsn: number;
}

/** The newer checkpoint in the header of a first log file. */
export const readCheckpoint = (header: Buffer): Checkpoint | undefined =>
  CHECKPOINTS.map((at) => header.subarray(at, at + BLOCK))
    .filter((block) => block.length === BLOCK && block.readUInt32BE(508) === crc32(block.subarray(0, 508)))
    .map((block) => ({ number: Number(block.readBigUInt64BE(0)), lsn: Number(block.readBigUInt64BE(8)) }))
    .sort((a, b) => b.number - a.number)[0];

export const checkpointBlock = ({ number, lsn }: Checkpoint): Buffer => {
  const block = Buffer.alloc(BLOCK);
  block.writeBigUInt64BE(BigInt(number), 0);
  block.writeBigUInt64BE(BigInt(lsn), 8);
  block.writeUInt32BE(crc32(block.subarray(0, 508)), 508);
  return block;
};

/** Where a checkpoint of this number is written. */
export const checkpointAt = (number: number): number => CHECKPOINTS[number % 2] as number;

/** The LSN of the first block in a log file with this header. */
export const firstLsn = (header: Buffer): number => Number(header.readBigUInt64BE(START_LSN));

export const logHeader = (lsn: number, creator: string): Buffer => {
  const header = Buffer.alloc(BLOCK);
  header.writeUInt32BE(1, 0);
  header.writeBigUInt64BE(BigInt(blockStart(lsn)), START_LSN);
  header.write(creator, CREATOR, 32, 'latin1');
  header.writeUInt32BE(crc32(header.subarray(0, 508)), 508);
  return header;
};

/** The circular redo log in the files of a directory. */
export class RedoLog {
  readonly #files: readonly number[];
  readonly #fileBytes: number;
  readonly #first: number;
  #checkpoint: Checkpoint;
  #lsn: number;
  #block: Buffer;

  private constructor(files: readonly number[], first: number, checkpoint: Checkpoint, lsn: number, block: Buffer) {
    this.#files = files;
    this.#fileBytes = fstatSync(files[0] as number).size;
    this.#first = first;
    this.#checkpoint = checkpoint;
    this.#lsn = lsn;
    this.#block = block;
  }

  /** New files; what was in them is gone. `lsn` lies where a block's redo begins. */
  static create(
    directory: string,
    options: { readonly files: number; readonly fileBytes: number; readonly lsn: number },
  ) {
    const files = Array.from({ length: options.files }, (_, index) => {
      const file = openSync(join(directory, logFileName(index)), 'w+', 0o640);
      ftruncateSync(file, options.fileBytes);
      return file;
    });
    writeSync(files[0] as number, logHeader(options.lsn, 'MySQL 5.7.13'), 0, BLOCK, 0);
    return new RedoLog(
      files,
      blockStart(options.lsn),
      { number: 0, lsn: options.lsn },
      options.lsn,
      newBlock(options.lsn),
    );
  }

  /** Begins a new log in files that have their size already, with a checkpoint at its beginning. */
  static format(paths: readonly string[], lsn: number): void {
    const files = paths.map((path) => openSync(path, 'r+'));
    writeSync(files[0] as number, logHeader(lsn, 'MySQL 5.7.13'), 0, BLOCK, 0);
    const log = new RedoLog(files, blockStart(lsn), { number: 0, lsn }, lsn, newBlock(lsn));
    log.append(encodeGroup([{ kind: 'checkpoint', lsn }]));
    log.writeCheckpoint(lsn);
    log.close();
  }

  /** The files that are there, to be read only until `continueAt`; `undefined` where there are none. */
  static open(directory: string, mode: 'r' | 'r+' = 'r+'): RedoLog | undefined {
    const paths: string[] = [];
    while (existsSync(join(directory, logFileName(paths.length))))
      paths.push(join(directory, logFileName(paths.length)));
    if (paths.length === 0) return undefined;
    const files = paths.map((path) => openSync(path, mode));
    const header = Buffer.alloc(LOG_HEADER);
    readSync(files[0] as number, header, 0, LOG_HEADER, 0);
    const first = firstLsn(header);
    const checkpoint = readCheckpoint(header) ?? { number: 0, lsn: first + BLOCK_HEADER };
    return new RedoLog(files, first, checkpoint, checkpoint.lsn, newBlock(checkpoint.lsn));
  }

  close(): void {
    for (const file of this.#files) closeSync(file);
  }

  get lsn(): number {
    return this.#lsn;
  }

  get checkpoint(): Checkpoint {
    return this.#checkpoint;
  }

  get fileBytes(): number {
    return this.#fileBytes;
  }

  /** Bytes that fit before the oldest ones are overwritten. */
  get capacity(): number {
    return this.#files.length * (this.#fileBytes - LOG_HEADER);
  }

  /** Reads the checkpoint again: the server may have made one. */
  rereadCheckpoint(): Checkpoint {
    this.#checkpoint = readCheckpoint(this.readHeader()) ?? this.#checkpoint;
    return this.#checkpoint;
  }

  readHeader(): Buffer {
    const header = Buffer.alloc(LOG_HEADER);
    readSync(this.#files[0] as number, header, 0, LOG_HEADER, 0);
    return header;
  }

  /** What lies where the block of this LSN belongs: that block, an older one, or nothing. */
  blockAt(lsn: number): Buffer {
    const block = Buffer.alloc(BLOCK);
    const { file, offset } = this.#place(lsn);
    readSync(file, block, 0, BLOCK, offset);
    return block;
  }

  /** Goes on writing at the end that recovery found. */
  continueAt(lsn: number): void {
    this.#lsn = lsn;
    this.#block = newBlock(lsn);
    const inside = (lsn % BLOCK) - BLOCK_HEADER;
    if (inside > 0) fillBlock(this.#block, this.blockAt(lsn).subarray(BLOCK_HEADER, BLOCK_HEADER + inside));
  }

  /** Written to the files before it returns. */
  append(bytes: Buffer): { readonly start: number; readonly end: number } {
    const start = this.#lsn;
    for (let rest = bytes; rest.length > 0; ) {
      const at = blockStart(this.#lsn);
      const taken = fillBlock(this.#block, rest);
      const { file, offset } = this.#place(at);
      writeSync(file, this.#block, 0, BLOCK, offset);
      rest = rest.subarray(taken);
      this.#lsn = lsnAfter(this.#lsn, taken);
      if (usedBytes(this.#block) === BLOCK) this.#block = newBlock(this.#lsn);
    }
    return { start, end: this.#lsn };
  }

  writeCheckpoint(lsn: number): void {
    this.#checkpoint = { number: this.#checkpoint.number + 1, lsn };
    writeSync(
      this.#files[0] as number,
      checkpointBlock(this.#checkpoint),
      0,
      BLOCK,
      checkpointAt(this.#checkpoint.number),
    );
  }

  #place(lsn: number): { readonly file: number; readonly offset: number } {
    const each = this.#fileBytes - LOG_HEADER;
    const distance = (blockStart(lsn) - this.#first) % (each * this.#files.length);
    return {
      file: this.#files[Math.floor(distance / each)] as number,
      offset: LOG_HEADER + (distance % each),
    };
  }
}
