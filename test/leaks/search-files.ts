import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { foundIn, type Needle } from './needles.ts';

const PIECE = 4 * 1024 * 1024;
/** Longer than any form of any secret. */
const OVERLAP = 4096;

const list = (path: string) => {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch {
    // Gone while we looked.
    return [];
  }
};

/** Every regular file below `directory` but those below the paths that are to hold secrets. */
export const filesBelow = (directory: string, except: ReadonlySet<string> = new Set()): readonly string[] =>
  list(directory).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (except.has(path)) return [];
    if (entry.isDirectory()) return filesBelow(path, except);
    return entry.isFile() ? [path] : [];
  });

const open = (path: string): number | undefined => {
  try {
    return openSync(path, 'r');
  } catch {
    return undefined;
  }
};

/** Which needles are in the file; none where it is gone. */
const foundInFile = (path: string, needles: readonly Needle[], buffer: Buffer): readonly string[] => {
  const file = open(path);
  if (file === undefined) return [];
  const found: string[] = [];
  try {
    for (let kept = 0; ; ) {
      const read = readSync(file, buffer, kept, PIECE, null);
      if (read === 0) return found;
      const piece = buffer.subarray(0, kept + read);
      found.push(...foundIn(piece, needles));
      // What lies across two pieces.
      kept = Math.min(OVERLAP, piece.length);
      piece.copyWithin(0, piece.length - kept);
    }
  } finally {
    closeSync(file);
  }
};

/** `path: secret` for everything that is found. */
export const searchFiles = (files: readonly string[], needles: readonly Needle[]): readonly string[] => {
  const buffer = Buffer.alloc(PIECE + OVERLAP);
  return [
    ...new Set(files.flatMap((path) => foundInFile(path, needles, buffer).map((secret) => `${path}: ${secret}`))),
  ];
};
