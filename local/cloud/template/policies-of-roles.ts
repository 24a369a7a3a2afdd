import { isJsonObject, type Json, type JsonObject } from '../json.ts';
import type { Resource } from './resolve-assembly.ts';

const objects = (value: Json | undefined): readonly JsonObject[] =>
  (Array.isArray(value) ? (value as readonly Json[]) : value === undefined ? [] : [value]).filter(isJsonObject);

const texts = (value: Json | undefined): readonly string[] =>
  (Array.isArray(value) ? (value as readonly Json[]) : []).filter((item) => typeof item === 'string');

const statementsIn = (document: Json | undefined): readonly JsonObject[] =>
  document !== undefined && isJsonObject(document) ? objects(document.Statement) : [];

/**
 * The statements that the templates give each role, by its ARN: its inline policies, the policies attached to it and the managed
 * policies of the same templates. Managed policies of AWS are not known here and grant nothing.
 */
export const policiesOfRoles = (resources: readonly Resource[]): ReadonlyMap<string, readonly JsonObject[]> => {
  const managed = new Map(
    resources.filter(({ type }) => type === 'AWS::IAM::ManagedPolicy').map((policy) => [policy.arn, policy.properties]),
  );
  const byRoleName = (name: string) =>
    resources
      .filter(({ type, properties }) => type !== 'AWS::IAM::Role' && texts(properties.Roles).includes(name))
      .flatMap(({ properties }) => statementsIn(properties.PolicyDocument));
  return new Map(
    resources
      .filter(({ type }) => type === 'AWS::IAM::Role')
      .map(({ name, arn, properties }) => [
        arn ?? name,
        [
          ...objects(properties.Policies).flatMap((policy) => statementsIn(policy.PolicyDocument)),
          ...texts(properties.ManagedPolicyArns).flatMap((policyArn) =>
            statementsIn(managed.get(policyArn)?.PolicyDocument),
          ),
          ...byRoleName(name),
        ],
      ]),
  );
};
