import { openSync, writeSync } from 'node:fs';

export type ServerLog = (level: 'Note' | 'Warning' | 'ERROR', text: string) => void;

/** The error log: standard error, or the file of `--log-error`. */
export const serverLog = (path: string | undefined): ServerLog => {
  const file = path === undefined || path === '' ? 2 : openSync(path, 'a', 0o640);
  return (level, text) => {
    writeSync(file, `${new Date().toISOString().replace('Z', '000Z')} 0 [${level}] ${text}\n`);
  };
};
