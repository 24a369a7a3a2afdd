/**
 * A value of a template as one text a test can name: `<LogicalId>` for a Ref, `<LogicalId.Attribute>` for a GetAtt, `<export>` for what
 * another stack exports.
 */
export const flatText = (value: unknown): string => {
  if (typeof value !== 'object' || value === null) return String(value);
  const [[intrinsic, argument] = []] = Object.entries(value);
  switch (intrinsic) {
    case 'Ref':
      return `<${argument}>`;
    case 'Fn::GetAtt':
      return `<${argument.join('.')}>`;
    case 'Fn::ImportValue':
      return `<${argument.replace(/^.*:ExportsOutput(FnGetAtt|Ref)/, '')}>`;
    case 'Fn::Join':
      return argument[1].map(flatText).join(argument[0]);
    case 'Fn::Sub':
      return argument.replaceAll('${', '<').replaceAll('}', '>');
    default:
      throw new Error(`a test knows no ${intrinsic}`);
  }
};

/** A value of a template with every intrinsic in it made flat. */
export const flatten = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(flatten);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value);
  const [first] = entries;
  if (entries.length === 1 && first && (first[0] === 'Ref' || first[0].startsWith('Fn::'))) return flatText(value);
  return Object.fromEntries(entries.map(([key, item]) => [key, flatten(item)]));
};
