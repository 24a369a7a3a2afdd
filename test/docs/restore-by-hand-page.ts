import { readFileSync } from 'node:fs';

const page = readFileSync(new URL('../../docs/restore-by-hand.md', import.meta.url), 'utf8');

type PageEngine = 'MariaDB' | 'XtraBackup';

interface Block {
  /** The heading of the third level above it, which says whose it is; absent: everybody's. */
  readonly under: string | undefined;
  readonly text: string;
}

const blocks: readonly Block[] = [...page.matchAll(/^(#{2,3}) (.*)$|^```bash\n([\s\S]*?)^```$/gm)].reduce(
  ({ under, found }, [, level, heading, text]): { under: string | undefined; found: readonly Block[] } =>
    text === undefined
      ? { under: level === '###' ? heading : undefined, found }
      : { under, found: [...found, { under, text }] },
  { under: undefined as string | undefined, found: [] as readonly Block[] },
).found;

const quoted = (value: string): string => `'${value.replaceAll("'", "'\\''")}'`;

/** The page's block of the reader's values, with these instead of its examples: all of them, and no other. */
const withValues = (text: string, values: Readonly<Record<string, string>>): string => {
  const named = [...text.matchAll(/^([A-Z_]+)=/gm)].map(([, name = '']) => name).sort();
  if (named.join() !== Object.keys(values).sort().join()) throw new Error(`the page asks for ${named.join(', ')}`);
  return text.replaceAll(/^([A-Z_]+)=\S+/gm, (_, name: string) => `${name}=${quoted(values[name] ?? '')}`);
};

/** Every command of the page, in its order, as somebody with that engine and these values would paste them. */
export const commandsOf = (engine: PageEngine, values: Readonly<Record<string, string>>): string => {
  const [own = '', ...rest] = blocks
    .filter(({ under }) => under === undefined || under === engine)
    .map(({ text }) => text);
  return [withValues(own, values), ...rest].join('\n');
};

/** A program that the page prints. */
export const programOf = (name: string): string => {
  const [, program] =
    new RegExp(`^cat >"\\$WORK/${name}" <<'END'\n([\\s\\S]*?)^END$`, 'm').exec(
      blocks.map(({ text }) => text).join('\n'),
    ) ?? [];
  if (program === undefined) throw new Error(`the page has no ${name}`);
  return program;
};
