import { readFileSync } from 'node:fs';

/** An option as it was written; `value` is absent where there was no `=`. */
export interface GivenOption {
  /** Without the dashes, `_` written as `-`. */
  readonly name: string;
  readonly value: string | undefined;
}

const normalised = (name: string): string => name.trim().replaceAll('_', '-');

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  s: ' ',
  b: '\b',
  '\\': '\\',
  '"': '"',
  "'": "'",
};

const unquoted = (text: string): string => {
  const trimmed = text.trim();
  const quote = trimmed[0];
  const inner =
    trimmed.length > 1 && (quote === '"' || quote === "'") && trimmed.endsWith(quote) ? trimmed.slice(1, -1) : trimmed;
  return inner.replaceAll(/\\(.)/g, (pair, letter: string) => ESCAPES[letter] ?? pair);
};

/** The options of these groups, in order. Throws where the file cannot be read. */
export const readOptionFile = (path: string, groups: readonly string[]): readonly GivenOption[] => {
  let group = '';
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line): GivenOption[] => {
      const header = /^\s*\[([^\]]+)\]/.exec(line);
      if (header) {
        group = (header[1] as string).trim();
        return [];
      }
      if (!groups.includes(group) || /^\s*([#;]|$)/.test(line)) return [];
      const at = line.indexOf('=');
      if (at < 0) return [{ name: normalised(line), value: undefined }];
      const raw = line.slice(at + 1);
      const value = /^\s*["']/.test(raw) ? raw : raw.replace(/\s#.*$/, '');
      return [{ name: normalised(line.slice(0, at)), value: unquoted(value) }];
    });
};

/** `--name=value` and `--name`; `undefined` for anything else. */
export const parseArgument = (argument: string): GivenOption | undefined => {
  const match = /^--([^=]+)(?:=([\s\S]*))?$/.exec(argument);
  return match?.[1] === undefined ? undefined : { name: normalised(match[1]), value: match[2] };
};

/** `16M`, `1G`, `4096`. */
export const bytesOf = (text: string): number => {
  const match = /^(\d+)([kmg])?$/i.exec(text);
  const unit = { k: 1024, m: 1024 ** 2, g: 1024 ** 3 }[(match?.[2] ?? '').toLowerCase()] ?? 1;
  return Number(match?.[1] ?? 0) * unit;
};
