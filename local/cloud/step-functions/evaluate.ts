import { createHash, randomUUID } from 'node:crypto';
import jsonata from 'jsonata';
import type { Json, JsonObject } from '../json.ts';
import { StateError } from './state-error.ts';

/** What an expression can see: the workflow's variables and the reserved `$states`. */
export interface Bindings {
  readonly variables: Readonly<Record<string, Json>>;
  readonly states: {
    readonly input: Json;
    readonly context: JsonObject;
    readonly result?: Json;
    readonly errorOutput?: Json;
  };
}

const hashAlgorithms: Readonly<Record<string, string>> = {
  MD5: 'md5',
  'SHA-1': 'sha1',
  'SHA-256': 'sha256',
  'SHA-384': 'sha384',
  'SHA-512': 'sha512',
};

/** mulberry32: a seed always gives the same number; which number differs from AWS, which does not say how it draws. */
const seededRandom = (seed: number): number => {
  let t = (seed + 0x6d2b79f5) | 0;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
};

const maximumArrayItems = 1000;

const partition = (array: readonly unknown[], size: number): unknown[][] => {
  if (!Number.isInteger(size) || size < 1) {
    throw new Error('$partition needs a size that is a positive whole number.');
  }
  return Array.from({ length: Math.ceil(array.length / size) }, (_, i) => array.slice(i * size, (i + 1) * size));
};

const range = (first: number, last: number, step: number): number[] => {
  if (step === 0) {
    throw new Error('$range needs a step that is not 0.');
  }
  const length = Math.max(0, Math.floor((last - first) / step) + 1);
  if (length > maximumArrayItems) {
    throw new Error(`$range makes at most ${maximumArrayItems} items.`);
  }
  return Array.from({ length }, (_, i) => first + i * step);
};

const hash = (data: unknown, algorithm: string): string => {
  const name = hashAlgorithms[algorithm];
  if (name === undefined) {
    throw new Error(`$hash knows ${Object.keys(hashAlgorithms).join(', ')}, not ${algorithm}.`);
  }
  return createHash(name)
    .update(typeof data === 'string' ? data : JSON.stringify(data))
    .digest('hex');
};

/** Compiles one expression with the functions that Step Functions adds to JSONata, and without `$eval`, which it removes. */
const compile = (source: string): jsonata.Expression => {
  const expression = jsonata(source);
  expression.registerFunction('parse', (text: string) => JSON.parse(text), '<s:x>');
  expression.registerFunction('partition', partition, '<an:a>');
  expression.registerFunction('range', range, '<nnn:a>');
  expression.registerFunction('hash', hash, '<xs:s>');
  expression.registerFunction('uuid', () => randomUUID(), '<:s>');
  expression.registerFunction(
    'random',
    (seed?: number) => (seed === undefined ? Math.random() : seededRandom(seed)),
    '<n?:n>',
  );
  expression.registerFunction('eval', () => {
    throw new Error('$eval is not available in Step Functions; use $parse.');
  });
  return expression;
};

/** The source of a `{% … %}` string, or undefined for a literal. */
export const expressionIn = (text: string): string | undefined =>
  text.startsWith('{%') && text.endsWith('%}') && text.length >= 4 ? text.slice(2, -2).trim() : undefined;

/** Parses every expression in a template. Throws an Error naming the first that is not JSONata. */
export const checkSyntax = (template: Json): void => {
  if (typeof template === 'string') {
    const source = expressionIn(template);
    if (source !== undefined) {
      try {
        compile(source);
      } catch (error) {
        throw new Error(`The expression '${source}' is not JSONata: ${(error as Error).message}`);
      }
    }
  } else if (typeof template === 'object' && template !== null) {
    for (const value of Object.values(template)) {
      checkSyntax(value);
    }
  }
};

/**
 * Evaluates every `{% … %}` string of a template, at any depth; everything else is taken as it stands.
 * Throws `States.QueryEvaluationError` when an expression fails or yields nothing, which JSON cannot say.
 */
export const evaluate = async (template: Json, bindings: Bindings, field: string): Promise<Json> => {
  if (typeof template === 'string') {
    const source = expressionIn(template);
    return source === undefined ? template : evaluateExpression(source, bindings, field);
  }
  if (Array.isArray(template)) {
    return Promise.all(template.map((item, index) => evaluate(item, bindings, `${field}[${index}]`)));
  }
  if (typeof template === 'object' && template !== null) {
    const entries = Object.entries(template as JsonObject).map(
      async ([key, value]) => [key, await evaluate(value, bindings, `${field}/${key}`)] as const,
    );
    return Object.fromEntries(await Promise.all(entries));
  }
  return template;
};

const evaluateExpression = async (source: string, { variables, states }: Bindings, field: string): Promise<Json> => {
  let value: unknown;
  try {
    // No input document: a path that does not start at a variable yields nothing, as in Step Functions.
    value = await compile(source).evaluate(undefined, { ...variables, states });
  } catch (error) {
    const { code, message } = error as { code?: string; message?: string };
    throw new StateError(
      'States.QueryEvaluationError',
      `The JSONata expression '${source}' specified for the field '${field}' threw an error during evaluation. ${code === undefined ? '' : `${code}: `}${message}`,
    );
  }
  if (value === undefined || typeof value === 'function') {
    throw new StateError(
      'States.QueryEvaluationError',
      `The JSONata expression '${source}' specified for the field '${field}' returned nothing (undefined).`,
    );
  }
  // JSONata's sequences carry flags of their own; what leaves an expression is plain JSON.
  return JSON.parse(JSON.stringify(value)) as Json;
};
