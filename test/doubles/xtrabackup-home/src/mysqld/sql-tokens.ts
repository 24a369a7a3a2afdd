import { SqlError } from '../wire/server-session.ts';

export type Token =
  | { readonly kind: 'word'; readonly text: string }
  | { readonly kind: 'name'; readonly text: string }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'sign'; readonly text: string };

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '0': '\0', b: '\b', Z: '\x1a' };

const SIGNS = /^(<=>|<>|!=|<=|>=|:=|@@|\|\||&&|[-+*/%&|<>=(),.;@!~^?])/;

const quotedText = (sql: string, from: number): { readonly text: string; readonly end: number } => {
  const quote = sql[from];
  let text = '';
  for (let at = from + 1; at < sql.length; at++) {
    const letter = sql[at] as string;
    if (letter === '\\' && quote !== '`') {
      at += 1;
      const escaped = sql[at] ?? '';
      text += ESCAPES[escaped] ?? (escaped === '%' || escaped === '_' ? `\\${escaped}` : escaped);
    } else if (letter === quote) {
      if (sql[at + 1] !== quote) return { text, end: at + 1 };
      at += 1;
      text += quote;
    } else text += letter;
  }
  throw new SqlError(1064, '42000', `You have an error in your SQL syntax near '${sql.slice(from, from + 80)}'`);
};

export const tokenize = (sql: string): readonly Token[] => {
  const tokens: Token[] = [];
  for (let at = 0; at < sql.length; ) {
    const rest = sql.slice(at);
    const blank = /^(\s+|--\s[^\n]*|#[^\n]*|\/\*(?!!)[\s\S]*?\*\/)/.exec(rest);
    if (blank) {
      at += blank[0].length;
      continue;
    }
    const letter = sql[at] as string;
    if (letter === "'" || letter === '"' || letter === '`') {
      const { text, end } = quotedText(sql, at);
      tokens.push({ kind: letter === '`' ? 'name' : 'text', text });
      at = end;
      continue;
    }
    const number = /^(0x[0-9a-fA-F]+|\d+(\.\d+)?(e[-+]?\d+)?)(?![\w$])/i.exec(rest);
    const word = /^[A-Za-z_$\d][\w$]*/.exec(rest);
    const sign = SIGNS.exec(rest);
    const match = number ?? word ?? sign;
    if (!match) throw new SqlError(1064, '42000', `You have an error in your SQL syntax near '${rest.slice(0, 80)}'`);
    tokens.push({ kind: number ? 'number' : word ? 'word' : 'sign', text: match[0] });
    at += match[0].length;
  }
  return tokens;
};
