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
  RevokeGrantCommand,
} from '@aws-sdk/client-kms';
import { RedoubtError } from '#core/errors.ts';
import type { Grant, Keys } from '#core/ports/keys.ts';
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
    async generate(context) {
      const { CiphertextBlob, KeyId } = await ask(
        client.send(
          new GenerateDataKeyWithoutPlaintextCommand({
            KeyId: dataKey,
            KeySpec: 'AES_256',
            EncryptionContext: { ...context },
          }),
        ),
      );
      if (!CiphertextBlob) throw new RedoubtError('ServiceUnavailable', 'KMS answered without a key');
      return { kmsKey: KeyId ?? dataKey, ciphertext: Buffer.from(CiphertextBlob).toString('base64'), context };
    },

    async lend({ key, role, name }) {
      const { GrantId, GrantToken } = await ask(
        client.send(
          new CreateGrantCommand({
            KeyId: key.kmsKey,
            GranteePrincipal: role,
            Operations: ['Decrypt'],
            // Equals, not Subset: the role opens this key of this chain, whatever else the customer key wraps.
            Constraints: { EncryptionContextEquals: { ...key.context } },
            Name: name,
          }),
        ),
      );
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

    async findGrants(names) {
      const collect = async () => {
        const found: Grant[] = [];
        for await (const page of paginateListGrants({ client }, { KeyId: dataKey })) {
          for (const { GrantId, Name, KeyId } of page.Grants ?? []) {
            if (GrantId && Name && names.includes(Name)) found.push({ kmsKey: KeyId ?? dataKey, grant: GrantId });
          }
        }
        return found;
      };
      return ask(collect());
    },
  };
};
