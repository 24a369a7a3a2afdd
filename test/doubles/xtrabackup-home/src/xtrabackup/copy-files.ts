import { closeSync, existsSync, mkdirSync, openSync, readSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { errcode } from '../write-all.ts';
import { Exit, tell } from './console.ts';

const CHUNK = 1024 * 1024;

const number = (thread: number): string => String(thread).padStart(2, '0');

const failed = (thread: number): Exit => {
  tell.raw(`[${number(thread)}] Error: copy_file() failed.`);
  return new Exit(1);
};

/** Copies a file; the target must not exist. Tells of it, throws `Exit`. */
export const copyFile = (from: string, to: string, thread: number): void => {
  let source: number;
  try {
    source = openSync(from, 'r');
  } catch (error) {
    tell.tool(`File '${from}' not found ${errcode(error)}`);
    tell.innodb('Operating system error number 2 in a file operation.');
    tell.innodb('The error means the system cannot find the path specified.');
    tell.raw(`[${number(thread)}] error: cannot open file ${from}`);
    throw failed(thread);
  }
  if (!existsSync(dirname(to))) mkdirSync(dirname(to), { recursive: true, mode: 0o750 });
  let target: number;
  try {
    target = openSync(to, 'wx', 0o640);
  } catch (error) {
    tell.tool(`Can't create/write to file '${to}' ${errcode(error)}`);
    tell.raw(`[${number(thread)}] error: cannot open the destination stream for ${from}`);
    throw failed(thread);
  }
  tell.thread(thread, `Copying ${from} to ${to}`);
  const buffer = Buffer.alloc(CHUNK);
  try {
    for (let position = 0; ; ) {
      const bytes = readSync(source, buffer, 0, CHUNK, position);
      if (bytes === 0) break;
      for (let written = 0; written < bytes; )
        written += writeSync(target, buffer, written, bytes - written, position + written);
      position += bytes;
    }
  } catch (error) {
    tell.tool(`Error writing file '${to}' ${errcode(error)}`);
    throw failed(thread);
  } finally {
    closeSync(source);
    closeSync(target);
  }
  tell.thread(thread, '       ...done');
};

/** Moves a file within one file system. */
export const moveFile = (from: string, to: string, thread: number): void => {
  if (!existsSync(dirname(to))) mkdirSync(dirname(to), { recursive: true, mode: 0o750 });
  if (existsSync(to)) {
    tell.bare(`Move file ${from} to ${to} failed: Destination file exists`);
    throw new Exit(1);
  }
  tell.thread(thread, `Moving ${from} to ${to}`);
  renameSync(from, to);
  tell.thread(thread, '       ...done');
};
