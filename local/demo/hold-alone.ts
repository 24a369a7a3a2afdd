import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Throws where another process holds `file` already; else holds it until this process ends. What a killed process left behind does
 * not count.
 */
export const holdAlone = (file: string): void => {
  const holder = holderOf(file);
  if (holder !== undefined) throw new Error(`process ${holder} is at it already`);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, String(process.pid));
  process.once('exit', () => rmSync(file, { force: true }));
};

const holderOf = (file: string): number | undefined => {
  try {
    const pid = Number(readFileSync(file, 'utf8'));
    // The number may be another program's by now.
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(process.argv[1] ?? '') ? pid : undefined;
  } catch {
    return undefined;
  }
};
