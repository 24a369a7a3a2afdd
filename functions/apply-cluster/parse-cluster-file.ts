import { isMap, isNode, isScalar, LineCounter, type Pair, parseDocument, type Document as YamlDocument } from 'yaml';
import { z } from 'zod';
import { type ClusterConfig, clusterConfigSchema } from '#core/cluster-config.ts';
import { insteadOfEngineWord } from '#core/engine-words.ts';
import { nearestWord } from './nearest-word.ts';

export type ParsedClusterFile =
  | { readonly kind: 'valid'; readonly config: ClusterConfig }
  /** One line for each, in the order of the file: `3:5 policy.fullEveryDay: …`. */
  | { readonly kind: 'invalid'; readonly problems: readonly string[] };

interface Problem {
  readonly line: number;
  readonly column: number;
  readonly text: string;
}

type Path = readonly PropertyKey[];

const pairOf = (document: YamlDocument, parent: Path, key: PropertyKey): Pair | undefined => {
  const node = parent.length === 0 ? document.contents : document.getIn(parent, true);
  return isMap(node) ? node.items.find((pair) => isScalar(pair.key) && pair.key.value === key) : undefined;
};

/** Where in the text the value at `path` stands, or the nearest thing around it that is there. */
const offsetOf = (document: YamlDocument, path: Path): number => {
  for (let length = path.length; length > 0; length -= 1) {
    const key = path[length - 1] as PropertyKey;
    const pair = pairOf(document, path.slice(0, length - 1), key);
    const node = pair ? pair.key : document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return document.contents?.range?.[0] ?? 0;
};

/** The keys that may stand in the object at `path`, for a suggestion. */
const keysAt = (path: Path): readonly string[] => {
  let schema: unknown = clusterConfigSchema;
  const unwrap = (inner: unknown): unknown => {
    let current = inner;
    while (
      current instanceof z.ZodDefault ||
      current instanceof z.ZodPrefault ||
      current instanceof z.ZodOptional ||
      current instanceof z.ZodReadonly
    )
      current = current.def.innerType;
    return current;
  };
  for (const key of path) {
    const at = unwrap(schema);
    if (at instanceof z.ZodObject) schema = at.shape[String(key)];
    else if (at instanceof z.ZodArray) schema = at.element;
    else return [];
  }
  const at = unwrap(schema);
  if (at instanceof z.ZodDiscriminatedUnion || at instanceof z.ZodUnion)
    return [
      ...new Set(at.options.flatMap((option) => (option instanceof z.ZodObject ? Object.keys(option.shape) : []))),
    ];
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
};

/** Which names there are, core/ cannot know. */
const TIMEZONE = ['policy', 'timezone'] as const;

const isTimezone = (name: string): boolean => {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: name });
    return true;
  } catch {
    return false;
  }
};

const dotted = (path: Path): string => path.map(String).join('.');

/**
 * Reads a cluster file and names every problem at once, each with line and column. Unknown keys are problems, with the key that
 * was probably meant: a misspelt policy must not be a silent default.
 */
export const parseClusterFile = (text: string): ParsedClusterFile => {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false });
  const problems: Problem[] = [];
  const add = (offset: number, words: string) => {
    const { line, col } = lines.linePos(offset);
    problems.push({ line, column: col, text: words });
  };
  for (const { pos, message } of document.errors) add(pos[0], message);
  // What follows a syntax error is not what its author wrote.
  const parsed = problems.length === 0 ? clusterConfigSchema.safeParse(document.toJS()) : undefined;
  for (const issue of parsed?.error?.issues ?? []) {
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) {
        const path = [...issue.path, key];
        const instead = insteadOfEngineWord(key);
        const meant = nearestWord(key, keysAt(issue.path));
        const help = instead
          ? `; that is an option of the engine: ${instead}`
          : meant
            ? `; did you mean ${meant}?`
            : '';
        add(offsetOf(document, path), `${dotted(path)}: unknown key${help}`);
      }
    } else {
      const where = issue.path.length > 0 ? `${dotted(issue.path)}: ` : '';
      add(offsetOf(document, issue.path), `${where}${issue.message}`);
    }
  }
  // Asked of the document: whatever else is wrong, this is said too.
  const timezone = parsed && document.getIn(TIMEZONE);
  if (typeof timezone === 'string' && !isTimezone(timezone))
    add(offsetOf(document, TIMEZONE), `${dotted(TIMEZONE)}: ${timezone} is not a time zone`);
  if (problems.length === 0 && parsed?.success) return { kind: 'valid', config: parsed.data };
  const sorted = problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
  return { kind: 'invalid', problems: sorted.map(({ line, column, text: words }) => `${line}:${column} ${words}`) };
};
