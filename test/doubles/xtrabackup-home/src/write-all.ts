import { writeSync } from 'node:fs';

const wait = new Int32Array(new SharedArrayBuffer(4));

/** Stops the whole process for a while, as a thread that does input and output would be stopped. */
export const pause = (milliseconds: number): void => {
  Atomics.wait(wait, 0, 0, milliseconds);
};

/** Writes all of it; a pipe that is full is waited for. */
export const writeAll = (file: number, bytes: Buffer): void => {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(file, bytes, at, Math.min(bytes.length - at, 1024 * 1024));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      pause(1);
    }
  }
};

/** Writes zeroes from `from` to `to`; returns how far it came on a disk that is full. */
export const writeZeroes = (file: number, from: number, to: number): number => {
  const zeroes = Buffer.alloc(1024 * 1024);
  for (let at = from; at < to; ) {
    const bytes = Math.min(zeroes.length, to - at);
    try {
      const written = writeSync(file, zeroes, 0, bytes, at);
      at += written;
      if (written < bytes) return at;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      return at;
    }
  }
  return to;
};

const NAMES: Readonly<Record<string, string>> = {
  ENOENT: 'No such file or directory',
  EACCES: 'Permission denied',
  EEXIST: 'File exists',
  ENOSPC: 'No space left on device',
  EPIPE: 'Broken pipe',
  EROFS: 'Read-only file system',
  EISDIR: 'Is a directory',
  ENOTDIR: 'Not a directory',
  EPERM: 'Operation not permitted',
  EBADF: 'Bad file descriptor',
};

/** `(Errcode: 28 - No space left on device)`. */
export const errcode = (error: unknown): string => {
  const { code = '', errno = -5 } = error as NodeJS.ErrnoException;
  return `(Errcode: ${Math.abs(errno)} - ${NAMES[code] ?? code})`;
};
