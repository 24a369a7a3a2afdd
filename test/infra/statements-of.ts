import type { Template } from 'aws-cdk-lib/assertions';
import { flatten } from './flat-text.ts';

export interface FlatStatement {
  readonly Sid?: string;
  readonly Effect: string;
  readonly Action: string | readonly string[];
  readonly Resource: string | readonly string[];
  readonly Condition?: Record<string, Record<string, unknown>>;
}

export const listOf = <Item>(value: Item | readonly Item[]): readonly Item[] =>
  Array.isArray(value) ? value : [value as Item];

/** Every statement that the role of a function has, made flat. `folder` is the function's folder. */
export const statementsOf = (template: Template, folder: string): readonly FlatStatement[] => {
  const [found] = Object.values(template.findResources('AWS::Lambda::Function')).filter(
    ({ Properties }) => Properties.FunctionName === `redoubt-${folder}`,
  );
  if (!found) throw new Error(`the template has no function ${folder}`);
  const role = found.Properties.Role['Fn::GetAtt'][0];
  return Object.values(template.findResources('AWS::IAM::Policy'))
    .filter(({ Properties }) => Properties.Roles.some(({ Ref }: { Ref: string }) => Ref === role))
    .flatMap(({ Properties }) => flatten(Properties.PolicyDocument.Statement) as FlatStatement[]);
};

/** Those of `statements` that allow `action`. */
export const allowing = (statements: readonly FlatStatement[], action: string): readonly FlatStatement[] =>
  statements.filter((statement) => statement.Effect === 'Allow' && listOf(statement.Action).includes(action));
