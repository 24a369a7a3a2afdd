import {
  CreateGrantCommand,
  DisabledException,
  GenerateDataKeyWithoutPlaintextCommand,
  IncorrectKeyException,
  InvalidArnException,
  InvalidKeyUsageException,
  KeyUnavailableException,
  KMSClient,
  KMSInvalidStateException,
  KMSServiceException,
  NotFoundException,
  paginateListGrants,
  ReEncryptCommand,
  RevokeGrantCommand,
} from '@aws-sdk/client-kms';
import { RedoubtError } from '#core/errors.ts';
import type { Keys, NamedGrant } from '#core/ports/keys.ts';
import { type WrappedKey, wrappedKeysOf } from '#core/wrapped-key.ts';
import { serviceFailure } from './service-failure.ts';

const refusals = [
  DisabledException,
  IncorrectKeyException,
  InvalidArnException,
  InvalidKeyUsageException,
  KeyUnavailableException,
  KMSInvalidStateException,
  NotFoundException,
];

const keyFailure = (error: unknown): RedoubtError => {
  const refused =
    refusals.some((kind) => error instanceof kind) ||
    (error instanceof KMSServiceException && error.name === 'AccessDeniedException');
  return refused
    ? new RedoubtError('KeyRefused', `KMS answered ${(error as Error).name}`, { cause: error })
    : serviceFailure('KMS', error);
};

/**
 * KMS answers for keys of its own Region only. A multi-Region key has the same id in each, and what one wrapped every other
 * opens: so where `key` is one, its replica beside `near` is meant.
 */
const keyBeside = (key: string, near: string): string => {
  const [, , , region] = near.split(':');
  const parts = key.split(':');
  return region && parts.at(-1)?.startsWith('key/mrk-') ? parts.with(3, region).join(':') : key;
};

/** `dataKey`: ARN of the key that wraps. */
export const kmsKeys = (dataKey: string, client = new KMSClient({})): Keys => {
  const ask = async <Answer>(call: Promise<Answer>): Promise<Answer> => {
    try {
      return await call;
    } catch (error) {
      throw keyFailure(error);
    }
  };

  return {
    dataKey,

    async generate(context, bytes) {
      const { CiphertextBlob, KeyId } = await ask(
        client.send(
          new GenerateDataKeyWithoutPlaintextCommand({
            KeyId: dataKey,
            NumberOfBytes: bytes,
            EncryptionContext: { ...context },
          }),
        ),
      );
      if (!CiphertextBlob) throw new RedoubtError('ServiceUnavailable', 'KMS answered without a key');
      return { kmsKey: KeyId ?? dataKey, ciphertext: Buffer.from(CiphertextBlob).toString('base64'), context };
    },

    async rewrap(key, to) {
      const { CiphertextBlob, KeyId } = await ask(
        client.send(
          new ReEncryptCommand({
            CiphertextBlob: Buffer.from(key.ciphertext, 'base64'),
            SourceKeyId: keyBeside(key.kmsKey, to),
            SourceEncryptionContext: { ...key.context },
            DestinationKeyId: to,
            DestinationEncryptionContext: { ...key.context },
          }),
        ),
      );
      if (!CiphertextBlob) throw new RedoubtError('ServiceUnavailable', 'KMS answered without a key');
      return { ...key, kmsKey: KeyId ?? to, ciphertext: Buffer.from(CiphertextBlob).toString('base64') };
    },

    async lend({ keys, role, name }) {
      const [key] = wrappedKeysOf(keys) as readonly [WrappedKey];
      const { cluster, chain } = key.context;
      if (wrappedKeysOf(keys).some(({ kmsKey }) => kmsKey !== key.kmsKey))
        throw new RedoubtError(
          'KeyRefused',
          `the keys of chain ${chain} are under different KMS keys; redoubt keys rewrap puts them under one`,
        );
      const { GrantId, GrantToken } = await ask(
        client.send(
          new CreateGrantCommand({
            KeyId: key.kmsKey,
            GranteePrincipal: role,
            Operations: ['Decrypt'],
            // docs/decisions/0007-one-grant-a-chain.md: whatever the purpose, but of this cluster and this chain only.
            Constraints: { EncryptionContextSubset: { cluster, chain } },
            Name: name,
          }),
        ),
      ).catch((error: RedoubtError) => {
        // KMS looks whether there is such a principal.
        if (error.cause instanceof InvalidArnException)
          throw new RedoubtError('KeyRefused', `KMS knows no role ${role}, which the cluster file names for the host`, {
            cause: error.cause,
          });
        throw error;
      });
      if (!GrantId || !GrantToken) throw new RedoubtError('ServiceUnavailable', 'KMS answered without a grant');
      return { kmsKey: key.kmsKey, grant: GrantId, token: GrantToken };
    },

    async revoke({ kmsKey, grant }) {
      try {
        await client.send(new RevokeGrantCommand({ KeyId: kmsKey, GrantId: grant }));
      } catch (error) {
        // The grant is gone already, or the whole key with all its grants.
        if (error instanceof NotFoundException) return;
        throw keyFailure(error);
      }
    },

    async findGrants(kmsKey, cluster) {
      const collect = async () => {
        const found: NamedGrant[] = [];
        for await (const page of paginateListGrants({ client }, { KeyId: kmsKey })) {
          for (const { GrantId, Name, KeyId, Constraints } of page.Grants ?? []) {
            if (GrantId && Name && Constraints?.EncryptionContextSubset?.cluster === cluster)
              found.push({ kmsKey: KeyId ?? kmsKey, grant: GrantId, name: Name });
          }
        }
        return found;
      };
      return ask(collect());
    },
  };
};
