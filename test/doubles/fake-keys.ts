import { RedoubtError } from '#core/errors.ts';
import type { GrantRequest, Keys } from '#core/ports/keys.ts';

export const DATA_KEY = 'arn:aws:kms:us-east-1:111122223333:key/2f2a6f4e-0000-4000-8000-000000000001';

export interface FakeKeys extends Keys {
  /** Grants that exist, by their id. */
  readonly grants: Map<string, GrantRequest>;
  /** Every name a grant was asked under. */
  readonly lent: string[];
  /** Makes the operation named fail with `KeyRefused`. */
  failing: 'generate' | 'lend' | 'revoke' | undefined;
}

export const fakeKeys = (): FakeKeys => {
  const grants = new Map<string, GrantRequest>();
  const lent: string[] = [];
  let made = 0;
  const fake: FakeKeys = {
    grants,
    lent,
    failing: undefined,
    generate: async (context) => {
      if (fake.failing === 'generate') throw new RedoubtError('KeyRefused', 'the key is disabled');
      made += 1;
      return { kmsKey: DATA_KEY, ciphertext: Buffer.from(`wrapped ${made}`).toString('base64'), context };
    },
    lend: async (request) => {
      if (fake.failing === 'lend') throw new RedoubtError('KeyRefused', 'the key is disabled');
      lent.push(request.name);
      const grant = `grant-of-${request.name}`;
      grants.set(grant, request);
      return { kmsKey: request.key.kmsKey, grant, token: `token-of-${request.name}` };
    },
    revoke: async ({ grant }) => {
      if (fake.failing === 'revoke') throw new RedoubtError('ServiceUnavailable', 'KMS answered ThrottlingException');
      grants.delete(grant);
    },
    findGrants: async (names) =>
      [...grants].flatMap(([grant, { name, key }]) => (names.includes(name) ? [{ kmsKey: key.kmsKey, grant }] : [])),
  };
  return fake;
};
