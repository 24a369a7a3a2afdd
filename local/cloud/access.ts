import { isJsonObject, type Json, type JsonObject } from './json.ts';
import { evaluateStatements, type Statement } from './kms/statements.ts';
import { operatorArn } from './principals.ts';
import type { S3Access } from './s3/front.ts';
import { policiesOfRoles } from './template/policies-of-roles.ts';
import type { Resource } from './template/resolve-assembly.ts';

/** A role that no template makes, such as that of a host's instance profile. */
export interface OutsideRole {
  readonly arn: string;
  readonly tags: Readonly<Record<string, string>>;
  /** Beginnings of the logical ids of the managed policies that it attaches; each must name one policy of the templates. */
  readonly managedPolicies: readonly string[];
}

/** The loopback stands for TLS: policies that insist on it are about the way to AWS. */
const asOverTls = { 'aws:SecureTransport': 'true', 's3:TlsVersion': '1.3' };

const withTags = (text: string, tags: Readonly<Record<string, string>>): string | undefined => {
  let unknown = false;
  const filled = text.replaceAll(/\$\{aws:PrincipalTag\/([^}]+)\}/g, (_found, key: string) => {
    unknown ||= tags[key] === undefined;
    return tags[key] ?? '';
  });
  return unknown ? undefined : filled;
};

/** A statement for one principal: its tags are put in; a resource that needs a tag it does not have matches nothing. */
const statementFor = (statement: JsonObject, tags: Readonly<Record<string, string>>): Statement => {
  const fill = (value: Json | undefined): readonly string[] =>
    (Array.isArray(value) ? (value as readonly Json[]) : [value]).flatMap((one) =>
      typeof one === 'string' ? (withTags(one, tags) ?? []) : [],
    );
  return {
    ...statement,
    ...(statement.Resource === undefined ? {} : { Resource: fill(statement.Resource) }),
    ...(statement.NotResource === undefined ? {} : { NotResource: fill(statement.NotResource) }),
  } as unknown as Statement;
};

const tagsOf = (resource: Resource): Record<string, string> =>
  Object.fromEntries(
    (Array.isArray(resource.properties.Tags) ? (resource.properties.Tags as readonly Json[]) : [])
      .filter(isJsonObject)
      .map(({ Key: key, Value: value }) => [String(key), String(value)]),
  );

/**
 * What the templates' policies let a principal do. They bind KMS and S3, where the guarantees of a backup rest on them; the other
 * services of the local cloud let everybody do everything. The operator is bound by bucket policies only.
 */
export class Access {
  readonly #statements = new Map<string, readonly Statement[]>();
  readonly #tags = new Map<string, Readonly<Record<string, string>>>();
  readonly #bucketPolicies: ReadonlyMap<string, readonly JsonObject[]>;

  /** Throws when an outside role attaches a managed policy that no template, or more than one, has. */
  constructor(policies: readonly Resource[], outsideRoles: readonly OutsideRole[]) {
    const byRole = policiesOfRoles(policies);
    for (const role of policies.filter(({ type }) => type === 'AWS::IAM::Role')) {
      this.#add(role.arn ?? role.name, tagsOf(role), byRole.get(role.arn ?? role.name) ?? []);
    }
    for (const { arn, tags, managedPolicies } of outsideRoles) {
      const statements = managedPolicies.flatMap((prefix) => {
        const found = policies.filter(
          ({ type, logicalId }) => type === 'AWS::IAM::ManagedPolicy' && logicalId.startsWith(prefix),
        );
        const [only] = found;
        if (only === undefined || found.length > 1) {
          throw new Error(`${found.length} managed policies of the templates begin with '${prefix}'.`);
        }
        return statementsIn(only);
      });
      this.#add(arn, tags, statements);
    }
    this.#bucketPolicies = new Map(
      policies
        .filter(({ type }) => type === 'AWS::S3::BucketPolicy')
        .map((policy) => [String(policy.properties.Bucket), statementsIn(policy)]),
    );
  }

  /** The IAM statements of a role. */
  readonly statementsOf = (roleArn: string): readonly Statement[] => this.#statements.get(roleArn) ?? [];

  /** Whether S3 lets the caller: an explicit deny wins, a bucket's policy for everybody or the caller's own statements may allow. */
  readonly allowsS3 = ({ caller, action, resource, context }: S3Access): boolean => {
    const tags = Object.fromEntries(
      Object.entries(this.#tags.get(caller) ?? {}).map(([key, value]) => [`aws:PrincipalTag/${key}`, value]),
    );
    const request = { action, resource, context: { ...context, ...asOverTls, ...tags, 'aws:PrincipalArn': caller } };
    const bucket = resource.slice('arn:aws:s3:::'.length).split('/')[0] ?? '';
    const ofBucket = evaluateStatements(
      (this.#bucketPolicies.get(bucket) ?? []).filter(isAboutEverybody).map((one) => statementFor(one, {})),
      request,
    );
    const ofCaller = caller === operatorArn ? 'allow' : evaluateStatements(this.statementsOf(caller), request);
    return ofBucket !== 'deny' && ofCaller !== 'deny' && (ofBucket === 'allow' || ofCaller === 'allow');
  };

  #add(arn: string, tags: Readonly<Record<string, string>>, statements: readonly JsonObject[]): void {
    this.#tags.set(arn, tags);
    this.#statements.set(
      arn,
      statements.map((statement) => statementFor(statement, tags)),
    );
  }
}

const statementsIn = ({ properties }: Resource): readonly JsonObject[] => {
  const document = properties.PolicyDocument;
  const statements = document !== undefined && isJsonObject(document) ? document.Statement : undefined;
  return (Array.isArray(statements) ? (statements as readonly Json[]) : []).filter(isJsonObject);
};

const isAboutEverybody = ({ Principal: principal }: JsonObject): boolean =>
  principal === '*' || (principal !== undefined && isJsonObject(principal) && principal.AWS === '*');
