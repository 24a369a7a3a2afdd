/** A parameter as a document declares it. */
export interface DeclaredParameter {
  readonly type: string;
  readonly default?: unknown;
  readonly allowedValues?: readonly unknown[];
  readonly allowedPattern?: string;
  readonly minChars?: number;
  readonly maxChars?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  /** `ENV_VAR`: the value reaches the script as `SSM_<name>` in its environment and is never put into its text. */
  readonly interpolationType?: string;
}

export type ParameterValue = string | number | boolean | readonly unknown[] | Readonly<Record<string, unknown>>;

const readValue = ({ type }: DeclaredParameter, given: readonly string[]): ParameterValue | undefined => {
  const [first] = given;
  switch (type) {
    case 'StringList':
    case 'List<AWS::EC2::Instance::Id>':
      return given;
    case 'MapList':
      return given.map((item) => JSON.parse(item));
    case 'StringMap':
      return JSON.parse(first ?? '');
    case 'Integer':
      return /^-?\d+$/.test(first ?? '') ? Number(first) : undefined;
    case 'Boolean':
      return /^(true|false)$/i.test(first ?? '') ? first?.toLowerCase() === 'true' : undefined;
    default:
      return given.length === 1 ? first : undefined;
  }
};

const problemOf = (name: string, declared: DeclaredParameter, value: ParameterValue): string | undefined => {
  const { allowedPattern, allowedValues, minChars, maxChars, minItems, maxItems } = declared;
  const items = Array.isArray(value) ? value : [value];
  if (minItems !== undefined && items.length < minItems) return `Parameter ${name} has fewer than ${minItems} items.`;
  if (maxItems !== undefined && items.length > maxItems) return `Parameter ${name} has more than ${maxItems} items.`;
  for (const item of items) {
    const text = typeof item === 'object' ? JSON.stringify(item) : String(item);
    if (allowedValues !== undefined && !allowedValues.map(String).includes(text)) {
      return `Parameter ${name} has value ${text} not in [${allowedValues.join(', ')}].`;
    }
    // Found anywhere, as the SSM agent does it: a pattern that means the whole value has to say so with ^ and $.
    if (allowedPattern !== undefined && !new RegExp(allowedPattern).test(text)) {
      return `Parameter ${name} has value ${text} not matching ${allowedPattern}.`;
    }
    if (minChars !== undefined && text.length < minChars)
      return `Parameter ${name} is shorter than ${minChars} characters.`;
    if (maxChars !== undefined && text.length > maxChars)
      return `Parameter ${name} is longer than ${maxChars} characters.`;
  }
  return undefined;
};

/**
 * The values of a document's parameters from those that a request gave, or a sentence that says what is wrong with them:
 * unknown names, missing ones, wrong types, and whatever the document's own rules forbid. Defaults are not checked.
 */
export const resolveParameters = (
  declared: Readonly<Record<string, DeclaredParameter>>,
  given: Readonly<Record<string, readonly string[]>>,
): { readonly values: Readonly<Record<string, ParameterValue>> } | { readonly problem: string } => {
  const unknown = Object.keys(given).filter((name) => !Object.hasOwn(declared, name));
  if (unknown.length > 0) return { problem: `Parameters [${unknown.join(', ')}] are not defined in the document.` };
  const values: Record<string, ParameterValue> = {};
  for (const [name, parameter] of Object.entries(declared)) {
    const texts = given[name];
    if (texts === undefined) {
      if (parameter.default === undefined) return { problem: `Parameter ${name} is required and was not given.` };
      values[name] = parameter.default as ParameterValue;
      continue;
    }
    let value: ParameterValue | undefined;
    try {
      value = readValue(parameter, texts);
    } catch {
      value = undefined;
    }
    if (value === undefined) return { problem: `Parameter ${name} is not of type ${parameter.type}.` };
    const problem = problemOf(name, parameter, value);
    if (problem !== undefined) return { problem };
    values[name] = value;
  }
  return { values };
};
