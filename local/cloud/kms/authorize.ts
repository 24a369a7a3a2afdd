import { accountId } from '../principals.ts';
import { AwsError } from '../service.ts';
import type { EncryptionContext } from './ciphertext-blob.ts';
import type { Grant, KmsKey } from './key-store.ts';
import { keyArn } from './key-store.ts';
import { type AccessRequest, evaluateStatements, type Statement } from './statements.ts';

const root = `arn:aws:iam::${accountId}:root`;

/** A session of a role acts with the role's permissions: `sts…:assumed-role/host/i-1` is `iam…:role/host`. */
export const roleOf = (principal: string): string => {
  const session = /^arn:aws:sts::(\d+):assumed-role\/([^/]+)\/[^/]+$/.exec(principal);
  return session === null ? principal : `arn:aws:iam::${session[1]}:role/${session[2]}`;
};

const samePrincipal = (named: string, caller: string): boolean => named === caller || named === roleOf(caller);

const names = (statement: Statement, caller: string): 'caller' | 'account' | undefined => {
  if (statement.Principal === '*') return 'caller';
  const listed = [statement.Principal?.AWS ?? []].flat();
  if (listed.includes('*') || listed.some((principal) => samePrincipal(principal, caller))) return 'caller';
  return listed.includes(root) || listed.includes(accountId) ? 'account' : undefined;
};

const includes = (context: EncryptionContext, required: EncryptionContext): boolean =>
  Object.entries(required).every(([key, value]) => context[key] === value);

const constraintHolds = (grant: Grant, context: EncryptionContext): boolean => {
  const { EncryptionContextSubset: subset, EncryptionContextEquals: equals } = grant.constraints ?? {};
  if (subset !== undefined && !includes(context, subset)) return false;
  return equals === undefined || (includes(context, equals) && includes(equals, context));
};

/** A grant made through a grant must be as strict or stricter than the one that allowed it. */
const asStrict = (made: Grant['constraints'], by: Grant['constraints']): boolean => {
  if (by?.EncryptionContextEquals !== undefined) {
    const equals = made?.EncryptionContextEquals;
    return (
      equals !== undefined &&
      includes(equals, by.EncryptionContextEquals) &&
      includes(by.EncryptionContextEquals, equals)
    );
  }
  if (by?.EncryptionContextSubset !== undefined) {
    return includes(made?.EncryptionContextEquals ?? made?.EncryptionContextSubset ?? {}, by.EncryptionContextSubset);
  }
  return true;
};

export interface KeyRequest {
  readonly caller: string;
  /** Without the `kms:` prefix: `Decrypt`, `ReEncryptFrom`. */
  readonly action: string;
  readonly key: KmsKey;
  /** Only for operations that take one: a grant's constraint is about these alone. */
  readonly encryptionContext?: EncryptionContext;
  readonly context?: AccessRequest['context'];
  /** What a CreateGrant asks for, when it is one. */
  readonly newGrant?: Pick<Grant, 'operations' | 'constraints'>;
}

const grantAllows = (grant: Grant, { caller, action, encryptionContext, newGrant }: KeyRequest): boolean => {
  if (!samePrincipal(grant.granteePrincipal, caller) || !grant.operations.includes(action)) return false;
  if (newGrant !== undefined) {
    return (
      newGrant.operations.every((operation) => grant.operations.includes(operation)) &&
      asStrict(newGrant.constraints, grant.constraints)
    );
  }
  return encryptionContext === undefined || constraintHolds(grant, encryptionContext);
};

/** The condition keys that a request's encryption context gives rise to. */
export const contextKeys = (context: EncryptionContext): AccessRequest['context'] => ({
  ...Object.fromEntries(Object.entries(context).map(([key, value]) => [`kms:EncryptionContext:${key}`, value])),
  ...(Object.keys(context).length === 0 ? {} : { 'kms:EncryptionContextKeys': Object.keys(context) }),
});

/**
 * Lets a request to a key pass or refuses it, as KMS decides: a deny anywhere wins; the key policy may allow the caller
 * itself, or hand the decision to the account's IAM policies; a grant may allow it. The account's root is not bound.
 *
 * @throws AwsError AccessDeniedException
 */
export const authorize = (request: KeyRequest, identityPolicies: readonly Statement[]): void => {
  const { caller, key } = request;
  if (caller === root) return;
  const access: AccessRequest = {
    action: `kms:${request.action}`,
    resource: keyArn(key),
    context: {
      'aws:PrincipalArn': roleOf(caller),
      'kms:CallerAccount': accountId,
      'kms:MultiRegion': String(key.multiRegion !== undefined),
      ...contextKeys(request.encryptionContext ?? {}),
      ...request.context,
    },
  };
  const about = (who: 'caller' | 'account') => key.policy.filter((statement) => names(statement, caller) === who);
  const direct = evaluateStatements(about('caller'), access);
  const account = evaluateStatements(about('account'), access);
  const identity = evaluateStatements(identityPolicies, access);
  const denied = [direct, account, identity].includes('deny');
  const allowed =
    direct === 'allow' ||
    (account === 'allow' && identity === 'allow') ||
    key.grants.some((grant) => grantAllows(grant, request));
  if (denied || !allowed) {
    throw new AwsError(
      'AccessDeniedException',
      `User: ${caller} is not authorized to perform: ${access.action} on resource: ${access.resource} because no ` +
        `identity-based policy, resource-based policy or grant allows it${denied ? ', and a policy explicitly denies it' : ''}`,
    );
  }
};
