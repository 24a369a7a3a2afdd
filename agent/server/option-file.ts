import { readFileSync, statSync } from 'node:fs';
import { RedoubtError } from '#core/errors.ts';
import type { Credentials } from '../engines/engine.ts';

const GROUPS = new Set(['client', 'client-server', 'client-mariadb', 'mysql', 'mariadb-client']);
const ESCAPES: Readonly<Record<string, string>> = {
  b: '\b',
  t: '\t',
  n: '\n',
  r: '\r',
  '\\': '\\',
  s: ' ',
  '"': '"',
  "'": "'",
};

/** A value as the servers' own programs read it: quotes around it fall away, the known escapes are resolved. */
const resolvedValue = (raw: string): string => {
  const trimmed = raw.trim();
  const quote = trimmed[0];
  const inner =
    trimmed.length >= 2 && (quote === '"' || quote === "'") && trimmed.endsWith(quote) ? trimmed.slice(1, -1) : trimmed;
  return inner.replace(/\\(.)/g, (pair, letter: string) => ESCAPES[letter] ?? pair);
};

/** `user` and `password` of the client groups of an option file's text; the last one counts. */
export const parseCredentials = (text: string): Credentials => {
  let credentials: Credentials = {};
  let group = '';
  for (const line of text.split(/\r?\n/)) {
    const header = /^\s*\[([^\]]+)\]\s*$/.exec(line);
    if (header?.[1]) group = header[1].trim();
    const option = /^\s*(user|password)\s*=(.*)$/.exec(line);
    if (!option?.[1] || option[2] === undefined || !GROUPS.has(group)) continue;
    // A comment may follow an unquoted value; in a quoted one `#` is itself.
    const raw = /^\s*["']/.test(option[2]) ? option[2] : option[2].replace(/\s#.*$/, '');
    credentials = { ...credentials, [option[1]]: resolvedValue(raw) };
  }
  return credentials;
};

/**
 * Reads the host's option file. Throws `InvalidInput` where it cannot be read, or where others than its owner and group may: it
 * holds a password.
 */
export const readCredentials = (path: string): Credentials => {
  let text: string;
  try {
    const mode = statSync(path).mode & 0o777;
    if (mode & 0o007)
      throw new RedoubtError(
        'InvalidInput',
        `${path} holds a password and is open to everybody (mode ${mode.toString(8).padStart(4, '0')}): chmod 600 it`,
      );
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof RedoubtError) throw error;
    throw new RedoubtError('InvalidInput', `the option file ${path} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return parseCredentials(text);
};
