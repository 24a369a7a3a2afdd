import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { isSound, PAGE_SIZE, pageLsn, pageSpace } from '../../../page-store/page.ts';
import type { SinkFile } from './data-sink.ts';

/** Pages read at once. */
const READ_PAGES = 640;

/** The page list of an increment: clusters of a page of numbers and the pages themselves. */
class DeltaWriter {
  readonly #file: SinkFile;
  readonly #capacity = PAGE_SIZE / 4 - 1;
  #numbers: number[] = [];
  #pages: Buffer[] = [];

  constructor(file: SinkFile) {
    this.#file = file;
  }

  add(number: number, page: Buffer): void {
    this.#numbers.push(number);
    this.#pages.push(page);
    if (this.#numbers.length === this.#capacity) this.#flush('xtra');
  }

  finish(): void {
    this.#flush('XTRA');
  }

  #flush(magic: 'xtra' | 'XTRA'): void {
    const head = Buffer.alloc(PAGE_SIZE);
    head.write(magic, 0, 'latin1');
    for (const [place, number] of this.#numbers.entries()) head.writeUInt32BE(number, 4 + place * 4);
    if (this.#numbers.length < this.#capacity) head.writeUInt32BE(0xffff_ffff, 4 + this.#numbers.length * 4);
    this.#file.write(Buffer.concat([head, ...this.#pages]));
    this.#numbers = [];
    this.#pages = [];
  }
}

/** Reads a page until it is whole: the server may be writing it. */
const readPages = (file: number, buffer: Buffer, position: number): number => {
  for (let attempt = 0; ; attempt++) {
    const bytes = readSync(file, buffer, 0, buffer.length, position);
    let sound = true;
    for (let at = 0; at + PAGE_SIZE <= bytes && sound; at += PAGE_SIZE)
      sound = isSound(buffer.subarray(at, at + PAGE_SIZE));
    if (sound || attempt === 10) return bytes;
  }
};

/**
 * Copies a tablespace, or what in it is newer than `fromLsn`, one read at a time: the caller may wait between two.
 * `meta` is written first where it is an increment.
 */
export function* copyTablespace(
  directory: string,
  path: string,
  target: SinkFile,
  fromLsn: bigint | undefined,
): Generator<void> {
  const file = openSync(join(directory, path), 'r');
  const buffer = Buffer.alloc(READ_PAGES * PAGE_SIZE);
  const delta = fromLsn === undefined ? undefined : new DeltaWriter(target);
  try {
    for (let position = 0; ; ) {
      const bytes = readPages(file, buffer, position);
      if (bytes === 0) break;
      if (!delta) target.write(buffer.subarray(0, bytes));
      else
        for (let at = 0; at + PAGE_SIZE <= bytes; at += PAGE_SIZE) {
          const page = buffer.subarray(at, at + PAGE_SIZE);
          if (BigInt(pageLsn(page)) > (fromLsn as bigint)) delta.add((position + at) / PAGE_SIZE, Buffer.from(page));
        }
      position += bytes;
      yield;
    }
    delta?.finish();
    yield;
  } finally {
    closeSync(file);
  }
}

export const spaceOfFile = (directory: string, path: string): number => {
  const file = openSync(join(directory, path), 'r');
  const page = Buffer.alloc(PAGE_SIZE);
  readSync(file, page, 0, PAGE_SIZE, 0);
  closeSync(file);
  return pageSpace(page);
};
