import { isJsonObject, type Json, type JsonObject } from '../json.ts';

export class UnsupportedPattern extends Error {
  override readonly name = 'UnsupportedPattern';
}

/**
 * Whether an event matches a pattern (EventBridge User Guide, "Comparison operators for use in event patterns"): every field of
 * the pattern must match, a list matches when one of its items does, and an array in the event when one of its elements does.
 * `cidr` is not supported and throws UnsupportedPattern, as does any operator that is not known.
 */
export const matchesPattern = (pattern: JsonObject, event: Json | undefined): boolean =>
  Object.entries(pattern).every(([field, expected]) => {
    if (field === '$or' && Array.isArray(expected)) {
      return expected.some((alternative: Json) => isJsonObject(alternative) && matchesPattern(alternative, event));
    }
    if (Array.isArray(event)) {
      return event.some((element: Json) => matchesPattern({ [field]: expected }, element));
    }
    const actual = isJsonObject(event) ? event[field] : undefined;
    if (Array.isArray(expected)) {
      return matchesLeaf(expected, actual);
    }
    if (isJsonObject(expected)) {
      return matchesPattern(expected, actual);
    }
    throw new UnsupportedPattern(`The pattern's ${field} is neither a list nor an object.`);
  });

const operators = ['exists', 'prefix', 'suffix', 'equals-ignore-case', 'wildcard', 'anything-but', 'numeric'];

/** Throws UnsupportedPattern for what the local bus could not judge, so that a rule fails when it is made and not silently. */
export const checkPattern = (pattern: JsonObject): void => {
  for (const [field, expected] of Object.entries(pattern)) {
    if (isJsonObject(expected)) {
      checkPattern(expected);
      continue;
    }
    if (!Array.isArray(expected)) {
      throw new UnsupportedPattern(`The pattern's ${field} is neither a list nor an object.`);
    }
    for (const rule of (expected as readonly Json[]).filter(isJsonObject)) {
      const operator = Object.keys(rule)[0] ?? '';
      if (field === '$or') {
        checkPattern(rule);
      } else if (!operators.includes(operator)) {
        throw new UnsupportedPattern(`The local event bus does not know the operator ${operator}, in ${field}.`);
      }
    }
  }
};

const matchesLeaf = (expected: readonly Json[], actual: Json | undefined): boolean => {
  const values = Array.isArray(actual) ? (actual as readonly Json[]) : [actual];
  return expected.some((rule) =>
    isJsonObject(rule) && Object.hasOwn(rule, 'exists')
      ? rule.exists === (actual !== undefined && !isJsonObject(actual))
      : values.some((value) => value !== undefined && matchesRule(rule, value)),
  );
};

const matchesRule = (rule: Json, value: Json): boolean => {
  if (!isJsonObject(rule)) {
    return rule === value;
  }
  const [operator, argument] = Object.entries(rule)[0] ?? ['', null];
  switch (operator) {
    case 'prefix':
      return text(value, argument, (whole, part) => whole.startsWith(part));
    case 'suffix':
      return text(value, argument, (whole, part) => whole.endsWith(part));
    case 'equals-ignore-case':
      return (
        typeof value === 'string' && typeof argument === 'string' && value.toLowerCase() === argument.toLowerCase()
      );
    case 'wildcard':
      return typeof value === 'string' && typeof argument === 'string' && wildcard(argument).test(value);
    case 'anything-but': {
      const excluded = Array.isArray(argument) ? (argument as readonly Json[]) : [argument];
      return !excluded.some((one) => matchesAnyOf(one, value));
    }
    case 'numeric':
      return typeof value === 'number' && Array.isArray(argument) && numeric(argument, value);
    default:
      throw new UnsupportedPattern(`The local event bus does not know the operator ${operator}.`);
  }
};

/** An excluded value, or an operator whose argument may itself be a list: `{"prefix": ["a", "b"]}`. */
const matchesAnyOf = (excluded: Json | undefined, value: Json): boolean => {
  if (excluded !== undefined && isJsonObject(excluded)) {
    const [operator, argument] = Object.entries(excluded)[0] ?? ['', null];
    const alternatives = Array.isArray(argument) ? (argument as readonly Json[]) : [argument];
    return alternatives.some((alternative) => matchesRule({ [operator]: alternative }, value));
  }
  return excluded === value;
};

const text = (value: Json, argument: Json | undefined, test: (whole: string, part: string) => boolean): boolean => {
  if (typeof value !== 'string') {
    return false;
  }
  const insensitive = argument !== undefined && isJsonObject(argument) ? argument['equals-ignore-case'] : undefined;
  return typeof insensitive === 'string'
    ? test(value.toLowerCase(), insensitive.toLowerCase())
    : typeof argument === 'string' && test(value, argument);
};

const wildcard = (pattern: string): RegExp =>
  new RegExp(
    `^${pattern
      .split('*')
      .map((part) => part.replaceAll(/[\\^$.|?+()[\]{}]/g, '\\$&'))
      .join('.*')}$`,
    's',
  );

const numeric = (conditions: readonly Json[], value: number): boolean => {
  for (let i = 0; i < conditions.length; i += 2) {
    const bound = Number(conditions[i + 1]);
    switch (conditions[i]) {
      case '=':
        if (value !== bound) return false;
        break;
      case '<':
        if (!(value < bound)) return false;
        break;
      case '<=':
        if (!(value <= bound)) return false;
        break;
      case '>':
        if (!(value > bound)) return false;
        break;
      case '>=':
        if (!(value >= bound)) return false;
        break;
      default:
        throw new UnsupportedPattern(`The numeric operator ${JSON.stringify(conditions[i])} is not known.`);
    }
  }
  return true;
};
