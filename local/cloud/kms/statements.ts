/** One statement of an IAM or key policy, as CloudFormation and IAM write it. */
export interface Statement {
  readonly Sid?: string;
  readonly Effect: 'Allow' | 'Deny';
  readonly Principal?: '*' | Readonly<Record<string, string | readonly string[]>>;
  readonly Action?: string | readonly string[];
  readonly NotAction?: string | readonly string[];
  readonly Resource?: string | readonly string[];
  readonly NotResource?: string | readonly string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, ConditionValue | readonly ConditionValue[]>>>>;
}

type ConditionValue = string | boolean | number;

/** What a policy is evaluated against. Names of condition keys are compared without case, as IAM does. */
export interface AccessRequest {
  readonly action: string;
  readonly resource: string;
  /** Condition keys; a key that is absent from the request has no entry. */
  readonly context: Readonly<Record<string, string | readonly string[] | undefined>>;
}

export type Verdict = 'allow' | 'deny' | 'silent';

const listOf = <T>(value: T | readonly T[] | undefined): readonly T[] =>
  value === undefined ? [] : Array.isArray(value) ? (value as readonly T[]) : [value as T];

/** Whether `text` fits a pattern with IAM's `*` and `?`. */
export const matchesPattern = (pattern: string, text: string): boolean =>
  new RegExp(
    `^${pattern
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replaceAll('*', '[\\s\\S]*')
      .replaceAll('?', '[\\s\\S]')}$`,
  ).test(text);

const arnMatches = (pattern: string, arn: string): boolean => {
  // Each of an ARN's six parts is matched by itself, so a star does not run across a colon.
  const split = (text: string) => {
    const parts = text.split(':');
    return [...parts.slice(0, 5), parts.slice(5).join(':')];
  };
  const patterns = split(pattern);
  const parts = split(arn);
  return patterns.length === parts.length && patterns.every((part, index) => matchesPattern(part, parts[index] ?? ''));
};

const operators: Readonly<Record<string, (expected: string, actual: string) => boolean>> = {
  StringEquals: (expected, actual) => expected === actual,
  StringEqualsIgnoreCase: (expected, actual) => expected.toLowerCase() === actual.toLowerCase(),
  StringLike: matchesPattern,
  ArnEquals: arnMatches,
  ArnLike: arnMatches,
  Bool: (expected, actual) => expected.toLowerCase() === actual.toLowerCase(),
  NumericEquals: (expected, actual) => Number(actual) === Number(expected),
  NumericLessThan: (expected, actual) => Number(actual) < Number(expected),
  NumericLessThanEquals: (expected, actual) => Number(actual) <= Number(expected),
  NumericGreaterThan: (expected, actual) => Number(actual) > Number(expected),
  NumericGreaterThanEquals: (expected, actual) => Number(actual) >= Number(expected),
};

const conditionHolds = (
  operator: string,
  expected: readonly string[],
  actual: string | readonly string[] | undefined,
): boolean => {
  const [, quantifier, rest = ''] = /^(ForAllValues:|ForAnyValue:)?(.+)$/.exec(operator) ?? [];
  const ifExists = rest.endsWith('IfExists');
  const name = ifExists ? rest.slice(0, -'IfExists'.length) : rest;
  if (name === 'Null') return expected.includes(String(actual === undefined));

  const positive = name.replace(/^(String|Arn|Numeric)Not/, '$1');
  const negated = positive !== name;
  const compare = operators[positive];
  // A condition that cannot be evaluated must not be taken for one that holds.
  if (compare === undefined) throw new Error(`The local cloud does not know the condition operator ${operator}.`);

  if (actual === undefined) return ifExists || negated || quantifier === 'ForAllValues:';
  const one = (value: string) => expected.some((candidate) => compare(candidate, value)) !== negated;
  const values = listOf(actual);
  if (quantifier === 'ForAllValues:') return values.every(one);
  return values.some(one);
};

const statementApplies = (statement: Statement, { action, resource, context }: AccessRequest): boolean => {
  const actionMatches = (pattern: string) => matchesPattern(pattern.toLowerCase(), action.toLowerCase());
  if (statement.Action !== undefined && !listOf(statement.Action).some(actionMatches)) return false;
  if (statement.NotAction !== undefined && listOf(statement.NotAction).some(actionMatches)) return false;
  const resourceMatches = (pattern: string) => matchesPattern(pattern, resource);
  if (statement.Resource !== undefined && !listOf(statement.Resource).some(resourceMatches)) return false;
  if (statement.NotResource !== undefined && listOf(statement.NotResource).some(resourceMatches)) return false;

  const byLowerKey = new Map(Object.entries(context).map(([key, value]) => [key.toLowerCase(), value]));
  return Object.entries(statement.Condition ?? {}).every(([operator, keys]) =>
    Object.entries(keys).every(([key, expected]) =>
      conditionHolds(operator, listOf<ConditionValue>(expected).map(String), byLowerKey.get(key.toLowerCase())),
    ),
  );
};

/**
 * What a list of statements says of a request: an explicit deny wins, silence is no permission. Principals are the
 * caller's business: hand in only the statements that are about the caller. Policy variables are not supported.
 *
 * @throws Error at a condition operator that is not known here, so that nothing is allowed by a condition not understood.
 */
export const evaluateStatements = (statements: readonly Statement[], request: AccessRequest): Verdict => {
  const applying = statements.filter((statement) => statementApplies(statement, request));
  if (applying.some(({ Effect }) => Effect === 'Deny')) return 'deny';
  return applying.length > 0 ? 'allow' : 'silent';
};
