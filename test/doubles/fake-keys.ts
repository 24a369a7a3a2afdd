import { RedoubtError } from '#core/errors.ts';
import type { GrantRequest, Keys } from '#core/ports/keys.ts';

export const DATA_KEY = 'arn:aws:kms:us-east-1:111122223333:key/2f2a6f4e-0000-4000-8000-000000000001';

/** Another KMS key that chains may be under. */
export const OTHER_KEY = 'arn:aws:kms:us-east-1:111122223333:key/2f2a6f4e-0000-4000-8000-000000000002';

export interface FakeKeys extends Keys {
  /** Grants that exist, by their id. */
  readonly grants: Map<string, GrantRequest>;
  /** Every name a grant was asked under. */
  readonly lent: string[];
  /** Makes the operation named fail with `KeyRefused`. */
  failing: 'generate' | 'rewrap' | 'lend' | 'revoke' | 'findGrants' | undefined;
  /** Bytes of each key that was made, by its ciphertext. A key that was wrapped anew keeps them. */
  readonly bytes: Map<string, number>;
}

export const fakeKeys = (): FakeKeys => {
  const grants = new Map<string, GrantRequest>();
  const lent: string[] = [];
  const bytes = new Map<string, number>();
  let made = 0;
  const wrap = (what: string) => {
    made += 1;
    return Buffer.from(`wrapped ${made}: ${what}`).toString('base64');
  };
  const fake: FakeKeys = {
    grants,
    lent,
    failing: undefined,
    bytes,
    dataKey: DATA_KEY,
    generate: async (context, length) => {
      if (fake.failing === 'generate') throw new RedoubtError('KeyRefused', 'the key is disabled');
      const ciphertext = wrap(`${context.purpose} of ${context.chain}`);
      bytes.set(ciphertext, length);
      return { kmsKey: DATA_KEY, ciphertext, context };
    },
    rewrap: async (key, to) => {
      if (fake.failing === 'rewrap') throw new RedoubtError('KeyRefused', 'the key is disabled');
      const ciphertext = wrap(Buffer.from(key.ciphertext, 'base64').toString());
      bytes.set(ciphertext, bytes.get(key.ciphertext) ?? 0);
      return { ...key, kmsKey: to, ciphertext };
    },
    lend: async (request) => {
      if (fake.failing === 'lend') throw new RedoubtError('KeyRefused', 'the key is disabled');
      lent.push(request.name);
      const namesake = grants.get(`grant-of-${request.name}`)?.keys.data.context.chain;
      const { chain } = request.keys.data.context;
      // The name makes it the same grant only where all the rest is the same.
      const grant = `grant-of-${request.name}${namesake === undefined || namesake === chain ? '' : ` on ${chain}`}`;
      grants.set(grant, request);
      return { kmsKey: request.keys.data.kmsKey, grant, token: `token-of-${request.name}` };
    },
    revoke: async ({ grant }) => {
      if (fake.failing === 'revoke') throw new RedoubtError('ServiceUnavailable', 'KMS answered ThrottlingException');
      grants.delete(grant);
    },
    findGrants: async (kmsKey, cluster) => {
      if (fake.failing === 'findGrants') throw new RedoubtError('KeyRefused', 'KMS answered AccessDeniedException');
      return [...grants].flatMap(([grant, { name, keys }]) =>
        keys.data.kmsKey === kmsKey && keys.data.context.cluster === cluster ? [{ kmsKey, grant, name }] : [],
      );
    },
  };
  return fake;
};
