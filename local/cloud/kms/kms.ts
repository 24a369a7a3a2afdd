import { createHash, randomBytes } from 'node:crypto';
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { accountId, region as defaultRegion, operatorArn } from '../principals.ts';
import { AwsError, awsJson, type Operation, type Service } from '../service.ts';
import { authorize, contextKeys, type KeyRequest, roleOf } from './authorize.ts';
import { type EncryptionContext, parseBlob, sealBlob } from './ciphertext-blob.ts';
import { defaultKeyPolicy, type Grant, KeyStore, type KmsKey, keyArn } from './key-store.ts';
import { evaluateStatements, type Statement } from './statements.ts';

export interface KmsOptions {
  /** Where the keys are kept. */
  readonly stateDirectory: string;
  /** Where `kms.jsonl`, the trail of all calls, is appended to. */
  readonly logDirectory: string;
  /** The IAM statements of a principal (an ARN; sessions are asked for by their role). Root is never asked for. */
  readonly policies?: (principalArn: string) => readonly Statement[];
  readonly now?: () => Date;
}

export interface Kms extends Service {
  /** Creates a key (and an alias to it) unless the alias already has one: what a template's `AWS::KMS::Key` asks for. */
  ensureKey(options: {
    readonly alias: string;
    /** The id that a new key gets; the template's references have been resolved to it. */
    readonly keyId?: string;
    readonly description?: string;
    readonly multiRegion?: boolean;
    readonly policy?: readonly Statement[];
    readonly enableRotation?: boolean;
    readonly region?: string;
  }): { readonly keyId: string; readonly arn: string };
  /** Makes a region answer nothing but 500 KMSInternalException, as if it were lost; or brings it back. */
  setRegionLost(region: string, lost: boolean): void;
}

const grantOperations = new Set([
  'Decrypt',
  'Encrypt',
  'GenerateDataKey',
  'GenerateDataKeyWithoutPlaintext',
  'ReEncryptFrom',
  'ReEncryptTo',
  'Sign',
  'Verify',
  'GetPublicKey',
  'CreateGrant',
  'RetireGrant',
  'DescribeKey',
  'GenerateDataKeyPair',
  'GenerateDataKeyPairWithoutPlaintext',
  'GenerateMac',
  'VerifyMac',
  'DeriveSharedSecret',
]);

/** The members of a request that may go on record: never plaintext, ciphertext or a grant token. */
const recordable = [
  'keyId',
  'encryptionContext',
  'sourceEncryptionContext',
  'destinationEncryptionContext',
  'destinationKeyId',
  'sourceKeyId',
  'keySpec',
  'numberOfBytes',
  'granteePrincipal',
  'retiringPrincipal',
  'operations',
  'constraints',
  'grantId',
  'name',
  'aliasName',
  'targetKeyId',
  'multiRegion',
  'replicaRegion',
  'pendingWindowInDays',
]; // prettier-ignore

const invalid = (message: string) => new AwsError('ValidationException', message);

const seconds = (milliseconds: number): number => Math.floor(milliseconds / 1000);

const bytesOf = (base64: unknown, name: string, limit: number): Buffer => {
  if (typeof base64 !== 'string')
    throw invalid(
      `1 validation error detected: Value null at '${name}' failed to satisfy constraint: Member must not be null`,
    );
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.length < 1 || bytes.length > limit) {
    throw invalid(
      `1 validation error detected: Value at '${name}' failed to satisfy constraint: Member must have length between 1 and ${limit}`,
    );
  }
  return bytes;
};

const lengthOf = (input: { KeySpec?: string; NumberOfBytes?: number }): number => {
  if ((input.KeySpec === undefined) === (input.NumberOfBytes === undefined)) {
    throw invalid('Please specify either number of bytes or key spec.');
  }
  if (input.KeySpec === 'AES_256') return 32;
  if (input.KeySpec === 'AES_128') return 16;
  const length = input.NumberOfBytes;
  if (input.KeySpec !== undefined || !Number.isInteger(length) || length === undefined || length < 1 || length > 1024) {
    throw invalid(`1 validation error detected: Value at 'numberOfBytes' or 'keySpec' failed to satisfy constraint.`);
  }
  return length;
};

const readPolicy = (policy: string | undefined): readonly Statement[] => {
  if (policy === undefined) return defaultKeyPolicy;
  try {
    return [JSON.parse(policy).Statement].flat();
  } catch {
    throw new AwsError('MalformedPolicyDocumentException', 'The policy is not JSON.');
  }
};

const regionOf = (authorization: string | undefined): string =>
  /Credential=[^/]+\/\d+\/([^/]+)\/kms\//.exec(authorization ?? '')?.[1] ?? defaultRegion;

const page = <T>(all: readonly T[], input: { Limit?: number; Marker?: string }, fallback: number) => {
  const start = input.Marker === undefined ? 0 : Number(input.Marker);
  if (!Number.isInteger(start))
    throw new AwsError('InvalidMarkerException', 'The marker is not one that was returned.');
  const end = start + (input.Limit ?? fallback);
  return {
    items: all.slice(start, end),
    more: { Truncated: end < all.length, ...(end < all.length ? { NextMarker: String(end) } : {}) },
  };
};

const grantToken = () => randomBytes(96).toString('base64');

/**
 * AWS KMS with symmetric keys, on this machine: real AES-256-GCM, the encryption context authenticated, grants and
 * policies enforced. Not there: asymmetric and HMAC keys, imported material, custom key stores, the delay until a grant
 * is effective everywhere. Grant tokens are taken and need not be used.
 */
export const createKms = ({
  stateDirectory,
  logDirectory,
  policies = () => [],
  now = () => new Date(),
}: KmsOptions): Kms => {
  const store = new KeyStore(stateDirectory);
  mkdirSync(logDirectory, { recursive: true });
  const trail = join(logDirectory, 'kms.jsonl');
  const lostRegions = new Set<string>();

  const record = (
    eventName: string,
    awsRegion: string,
    caller: string,
    input: Record<string, unknown>,
    errorCode?: string,
  ) => {
    const requestParameters = Object.fromEntries(
      Object.entries(input)
        .map(([key, value]) => [key.charAt(0).toLowerCase() + key.slice(1), value] as const)
        .filter(([key]) => recordable.includes(key)),
    );
    const event = {
      eventVersion: '1.11',
      eventTime: now().toISOString(),
      eventSource: 'kms.amazonaws.com',
      eventName,
      awsRegion,
      userIdentity: { arn: caller },
      requestParameters,
      ...(errorCode === undefined ? {} : { errorCode }),
    };
    appendFileSync(trail, `${JSON.stringify(event)}\n`);
  };

  const operationsOf = (region: string): Readonly<Record<string, Operation>> => {
    const allow = (request: KeyRequest) => authorize(request, policies(roleOf(request.caller)));

    /** Refuses what no policy of the account allows, for operations that are not about one key. */
    const allowInAccount = (caller: string, action: string) => {
      const request = { action: `kms:${action}`, resource: '*', context: { 'aws:PrincipalArn': roleOf(caller) } };
      if (caller !== operatorArn && evaluateStatements(policies(roleOf(caller)), request) !== 'allow') {
        throw new AwsError('AccessDeniedException', `User: ${caller} is not authorized to perform: ${request.action}`);
      }
    };

    const usable = (key: KmsKey): KmsKey => {
      if (key.state === 'PendingDeletion') {
        throw new AwsError('KMSInvalidStateException', `${keyArn(key)} is pending deletion.`);
      }
      if (key.state === 'Disabled') throw new AwsError('DisabledException', `${keyArn(key)} is disabled.`);
      return key;
    };

    const forCryptography = (
      input: { KeyId?: string; DryRun?: boolean },
      caller: string,
      action: string,
      encryptionContext: EncryptionContext = {},
    ): KmsKey => {
      const key = store.resolve(region, input.KeyId, { aliases: true });
      const alias = store
        .aliases(region)
        .filter(([, keyId]) => keyId === key.keyId)
        .map(([name]) => name);
      const context = {
        'kms:ResourceAliases': alias.length === 0 ? undefined : alias,
        'kms:RequestAlias': input.KeyId?.includes('alias/')
          ? input.KeyId.slice(input.KeyId.indexOf('alias/'))
          : undefined,
      };
      allow({ caller, action, key, encryptionContext, context });
      usable(key);
      if (input.DryRun === true) {
        throw new AwsError(
          'DryRunOperationException',
          'The request would have succeeded, but the DryRun option is set.',
          412,
        );
      }
      return key;
    };

    const manage = (
      keyId: string | undefined,
      caller: string,
      action: string,
      context: KeyRequest['context'] = {},
    ): KmsKey => {
      const key = store.resolve(region, keyId, { aliases: action === 'DescribeKey' });
      allow({ caller, action, key, context });
      return key;
    };

    const seal = (key: KmsKey, plaintext: Buffer, context: EncryptionContext): string => {
      const version = key.material.length - 1;
      const material = Buffer.from(key.material[version] ?? '', 'base64');
      return sealBlob({ keyId: key.keyId, version, material }, plaintext, context).toString('base64');
    };

    const open = (
      input: { CiphertextBlob?: unknown; KeyId?: string; DryRun?: boolean },
      caller: string,
      action: string,
      context: EncryptionContext = {},
    ): { key: KmsKey; plaintext: Buffer } => {
      const blob = parseBlob(bytesOf(input.CiphertextBlob, 'ciphertextBlob', 6144));
      if (blob === undefined) throw new AwsError('InvalidCiphertextException', '');
      if (!store.keys(region).some(({ keyId }) => keyId === blob.keyId)) {
        throw new AwsError(
          'AccessDeniedException',
          'The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.',
        );
      }
      const key = forCryptography({ ...input, KeyId: keyArn({ region, keyId: blob.keyId }) }, caller, action, context);
      if (input.KeyId !== undefined && store.resolve(region, input.KeyId, { aliases: true }).keyId !== key.keyId) {
        throw new AwsError(
          'IncorrectKeyException',
          'The key ID in the request does not identify a CMK that can perform this operation.',
        );
      }
      try {
        const material = Buffer.from(key.material[blob.version] ?? '', 'base64');
        return { key, plaintext: blob.open(material, context) };
      } catch {
        throw new AwsError('InvalidCiphertextException', '');
      }
    };

    const metadata = (key: KmsKey) => ({
      AWSAccountId: accountId,
      KeyId: key.keyId,
      Arn: keyArn(key),
      CreationDate: seconds(key.creationDate),
      Enabled: key.state === 'Enabled',
      Description: key.description,
      KeyUsage: 'ENCRYPT_DECRYPT',
      KeyState: key.state,
      ...(key.deletionDate === undefined ? {} : { DeletionDate: seconds(key.deletionDate) }),
      Origin: 'AWS_KMS',
      KeyManager: 'CUSTOMER',
      CustomerMasterKeySpec: 'SYMMETRIC_DEFAULT',
      KeySpec: 'SYMMETRIC_DEFAULT',
      EncryptionAlgorithms: ['SYMMETRIC_DEFAULT'],
      MultiRegion: key.multiRegion !== undefined,
      ...(key.multiRegion === undefined
        ? {}
        : {
            MultiRegionConfiguration: {
              MultiRegionKeyType: key.multiRegion.type,
              PrimaryKey: {
                Arn: keyArn({ ...key, region: key.multiRegion.primaryRegion }),
                Region: key.multiRegion.primaryRegion,
              },
              ReplicaKeys: store
                .replicasOf(key.keyId)
                .filter(({ multiRegion }) => multiRegion?.type === 'REPLICA')
                .map((replica) => ({ Arn: keyArn(replica), Region: replica.region })),
            },
          }),
    });

    const grantEntry = (key: KmsKey, grant: Grant) => ({
      KeyId: keyArn(key),
      GrantId: grant.grantId,
      ...(grant.name === undefined ? {} : { Name: grant.name }),
      CreationDate: seconds(grant.creationDate),
      GranteePrincipal: grant.granteePrincipal,
      ...(grant.retiringPrincipal === undefined ? {} : { RetiringPrincipal: grant.retiringPrincipal }),
      IssuingAccount: grant.issuingAccount,
      Operations: grant.operations,
      ...(grant.constraints === undefined ? {} : { Constraints: grant.constraints }),
    });

    const dropGrant = (key: KmsKey, grantId: string) => {
      key.grants = key.grants.filter((grant) => grant.grantId !== grantId);
      store.save();
    };

    const setState =
      (action: string, state: KmsKey['state']): Operation =>
      async (input, caller) => {
        const key = manage(input.KeyId, caller, action);
        if (key.state === 'PendingDeletion')
          throw new AwsError('KMSInvalidStateException', `${keyArn(key)} is pending deletion.`);
        key.state = state;
        store.save();
        return {};
      };

    const setRotation =
      (action: string, enabled: boolean): Operation =>
      async (input, caller) => {
        const key = usable(manage(input.KeyId, caller, action));
        key.rotationEnabled = enabled;
        store.save();
        return {};
      };

    const generate = (action: string) => async (input: Parameters<Operation>[0], caller: string) => {
      const length = lengthOf(input);
      const context: EncryptionContext = input.EncryptionContext ?? {};
      const key = forCryptography(input, caller, action, context);
      const plaintext = randomBytes(length);
      return {
        plaintext,
        output: { KeyId: keyArn(key), CiphertextBlob: seal(key, plaintext, context), KeyMaterialId: materialId(key) },
      };
    };

    const materialId = (key: KmsKey) =>
      createHash('sha256').update(`${key.keyId}/${key.material.length}`).digest('hex');

    return {
      async CreateKey(input, caller) {
        allowInAccount(caller, 'CreateKey');
        if (input.KeySpec !== undefined && input.KeySpec !== 'SYMMETRIC_DEFAULT') {
          throw new AwsError('UnsupportedOperationException', 'The local KMS has symmetric keys only.');
        }
        const key = store.create(region, {
          multiRegion: input.MultiRegion === true,
          description: input.Description ?? '',
          policy: readPolicy(input.Policy),
          now: now().getTime(),
        });
        return { KeyMetadata: metadata(key) };
      },
      async ReplicateKey(input, caller) {
        const key = usable(manage(input.KeyId, caller, 'ReplicateKey', { 'kms:ReplicaRegion': input.ReplicaRegion }));
        if (key.multiRegion?.type !== 'PRIMARY') {
          throw new AwsError('UnsupportedOperationException', `${keyArn(key)} is not a multi-Region primary key.`);
        }
        if (store.replicasOf(key.keyId).some((replica) => replica.region === input.ReplicaRegion)) {
          throw new AwsError('AlreadyExistsException', `The key is already in ${input.ReplicaRegion}.`);
        }
        const replica = store.replicate(key, input.ReplicaRegion, readPolicy(input.Policy), now().getTime());
        return {
          ReplicaKeyMetadata: metadata(replica),
          ReplicaPolicy: JSON.stringify({ Version: '2012-10-17', Statement: replica.policy }),
        };
      },
      async DescribeKey(input, caller) {
        return { KeyMetadata: metadata(manage(input.KeyId, caller, 'DescribeKey')) };
      },
      async ListKeys(input, caller) {
        allowInAccount(caller, 'ListKeys');
        const { items, more } = page(store.keys(region), input, 100);
        return { Keys: items.map((key) => ({ KeyId: key.keyId, KeyArn: keyArn(key) })), ...more };
      },
      async CreateAlias(input, caller) {
        if (!/^alias\/[a-zA-Z0-9/_-]+$/.test(input.AliasName) || input.AliasName.startsWith('alias/aws/')) {
          throw new AwsError('InvalidAliasNameException', `${input.AliasName} is not an alias name.`);
        }
        const key = manage(input.TargetKeyId, caller, 'CreateAlias');
        if (store.aliases(region).some(([alias]) => alias === input.AliasName)) {
          throw new AwsError(
            'AlreadyExistsException',
            `An alias with the name arn:aws:kms:${region}:${accountId}:${input.AliasName} already exists`,
          );
        }
        store.setAlias(region, input.AliasName, key.keyId);
        return {};
      },
      async UpdateAlias(input, caller) {
        store.resolve(region, input.AliasName, { aliases: true });
        store.setAlias(region, input.AliasName, manage(input.TargetKeyId, caller, 'UpdateAlias').keyId);
        return {};
      },
      async DeleteAlias(input, caller) {
        const key = store.resolve(region, input.AliasName, { aliases: true });
        manage(key.keyId, caller, 'DeleteAlias');
        store.deleteAlias(region, input.AliasName);
        return {};
      },
      async ListAliases(input, caller) {
        allowInAccount(caller, 'ListAliases');
        const wanted =
          input.KeyId === undefined ? undefined : store.resolve(region, input.KeyId, { aliases: false }).keyId;
        const aliases = store.aliases(region).filter(([, keyId]) => wanted === undefined || keyId === wanted);
        const { items, more } = page(aliases, input, 50);
        return {
          Aliases: items.map(([alias, keyId]) => ({
            AliasName: alias,
            AliasArn: `arn:aws:kms:${region}:${accountId}:${alias}`,
            TargetKeyId: keyId,
          })),
          ...more,
        };
      },
      async GetKeyPolicy(input, caller) {
        const key = manage(input.KeyId, caller, 'GetKeyPolicy');
        return { Policy: JSON.stringify({ Version: '2012-10-17', Statement: key.policy }), PolicyName: 'default' };
      },
      async PutKeyPolicy(input, caller) {
        const key = manage(input.KeyId, caller, 'PutKeyPolicy');
        key.policy = readPolicy(input.Policy);
        store.save();
        return {};
      },
      async Encrypt(input, caller) {
        const plaintext = bytesOf(input.Plaintext, 'plaintext', 4096);
        const context: EncryptionContext = input.EncryptionContext ?? {};
        const key = forCryptography(input, caller, 'Encrypt', context);
        return {
          KeyId: keyArn(key),
          CiphertextBlob: seal(key, plaintext, context),
          EncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
        };
      },
      async Decrypt(input, caller) {
        const { key, plaintext } = open(input, caller, 'Decrypt', input.EncryptionContext);
        return {
          KeyId: keyArn(key),
          Plaintext: plaintext.toString('base64'),
          EncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
          KeyMaterialId: materialId(key),
        };
      },
      async ReEncrypt(input, caller) {
        const source = open(
          { CiphertextBlob: input.CiphertextBlob, KeyId: input.SourceKeyId },
          caller,
          'ReEncryptFrom',
          input.SourceEncryptionContext,
        );
        const context: EncryptionContext = input.DestinationEncryptionContext ?? {};
        const destination = forCryptography(
          { KeyId: input.DestinationKeyId, DryRun: input.DryRun },
          caller,
          'ReEncryptTo',
          context,
        );
        return {
          CiphertextBlob: seal(destination, source.plaintext, context),
          SourceKeyId: keyArn(source.key),
          KeyId: keyArn(destination),
          SourceEncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
          DestinationEncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
        };
      },
      async GenerateDataKey(input, caller) {
        const { plaintext, output } = await generate('GenerateDataKey')(input, caller);
        return { ...output, Plaintext: plaintext.toString('base64') };
      },
      async GenerateDataKeyWithoutPlaintext(input, caller) {
        return (await generate('GenerateDataKeyWithoutPlaintext')(input, caller)).output;
      },
      async GenerateRandom(input, caller) {
        allowInAccount(caller, 'GenerateRandom');
        return { Plaintext: randomBytes(lengthOf({ NumberOfBytes: input.NumberOfBytes })).toString('base64') };
      },
      async CreateGrant(input, caller) {
        const operations: string[] = input.Operations ?? [];
        const unknown = operations.find((operation) => !grantOperations.has(operation));
        if (
          operations.length === 0 ||
          unknown !== undefined ||
          !/^arn:aws:(iam|sts):/.test(input.GranteePrincipal ?? '')
        ) {
          const what = unknown === undefined ? 'operations or granteePrincipal' : `operation ${unknown}`;
          throw invalid(`1 validation error detected: Value at '${what}' failed to satisfy constraint.`);
        }
        const key = store.resolve(region, input.KeyId, { aliases: false });
        const constraints: Grant['constraints'] = input.Constraints;
        const constraintType = Object.keys(constraints ?? {})[0];
        allow({
          caller,
          action: 'CreateGrant',
          key,
          newGrant: { operations, ...(constraints === undefined ? {} : { constraints }) },
          context: {
            'kms:GrantOperations': operations,
            'kms:GranteePrincipal': input.GranteePrincipal,
            'kms:RetiringPrincipal': input.RetiringPrincipal,
            'kms:GrantConstraintType': constraintType,
            'kms:GrantIsForAWSResource': 'false',
            // KMS puts a constraint's pairs into the request's context keys, so a policy can pin them.
            ...contextKeys(constraints?.EncryptionContextEquals ?? constraints?.EncryptionContextSubset ?? {}),
          },
        });
        usable(key);
        const token = grantToken();
        const same = (grant: Grant) =>
          grant.name === input.Name &&
          grant.granteePrincipal === input.GranteePrincipal &&
          grant.retiringPrincipal === input.RetiringPrincipal &&
          JSON.stringify([grant.operations, grant.constraints]) === JSON.stringify([operations, constraints]);
        const existing = input.Name === undefined ? undefined : key.grants.find(same);
        if (existing !== undefined) {
          existing.tokens.push(token);
          store.save();
          return { GrantId: existing.grantId, GrantToken: token };
        }
        const grant: Grant = {
          grantId: randomBytes(32).toString('hex'),
          tokens: [token],
          granteePrincipal: input.GranteePrincipal,
          ...(input.RetiringPrincipal === undefined ? {} : { retiringPrincipal: input.RetiringPrincipal }),
          operations,
          ...(constraints === undefined ? {} : { constraints }),
          ...(input.Name === undefined ? {} : { name: input.Name }),
          issuingAccount: operatorArn,
          creationDate: now().getTime(),
        };
        key.grants.push(grant);
        store.save();
        return { GrantId: grant.grantId, GrantToken: token };
      },
      async ListGrants(input, caller) {
        const key = manage(input.KeyId, caller, 'ListGrants');
        const grants = key.grants.filter(
          (grant) =>
            (input.GrantId === undefined || grant.grantId === input.GrantId) &&
            (input.GranteePrincipal === undefined || grant.granteePrincipal === input.GranteePrincipal),
        );
        const { items, more } = page(grants, input, 50);
        return { Grants: items.map((grant) => grantEntry(key, grant)), ...more };
      },
      async ListRetirableGrants(input, caller) {
        allowInAccount(caller, 'ListRetirableGrants');
        const all = store
          .keys(region)
          .flatMap((key) => key.grants.map((grant) => ({ key, grant })))
          .filter(({ grant }) => grant.retiringPrincipal === input.RetiringPrincipal);
        const { items, more } = page(all, input, 50);
        return { Grants: items.map(({ key, grant }) => grantEntry(key, grant)), ...more };
      },
      async RetireGrant(input, caller) {
        const byToken = input.GrantToken !== undefined;
        if (byToken === (input.GrantId !== undefined))
          throw invalid('Specify either a grant token, or a key ARN and a grant ID.');
        const found = byToken
          ? store
              .keys(region)
              .flatMap((key) => key.grants.map((grant) => ({ key, grant })))
              .find(({ grant }) => grant.tokens.includes(input.GrantToken))
          : store
              .resolve(region, input.KeyId, { aliases: false })
              .grants.filter((grant) => grant.grantId === input.GrantId)
              .map((grant) => ({ key: store.resolve(region, input.KeyId, { aliases: false }), grant }))[0];
        if (found === undefined) {
          throw byToken
            ? new AwsError('InvalidGrantTokenException', 'The grant token is not valid.')
            : new AwsError('NotFoundException', `Grant ${input.GrantId} is not found.`);
        }
        // A policy alone cannot allow RetireGrant: the grant names who may.
        const { key, grant } = found;
        const who = [caller, roleOf(caller)];
        const allowed =
          caller === operatorArn ||
          (grant.retiringPrincipal !== undefined && who.includes(grant.retiringPrincipal)) ||
          (grant.operations.includes('RetireGrant') && who.includes(grant.granteePrincipal)) ||
          (grant.retiringPrincipal === operatorArn &&
            evaluateStatements(policies(roleOf(caller)), {
              action: 'kms:RetireGrant',
              resource: keyArn(key),
              context: {},
            }) === 'allow');
        if (!allowed) {
          throw new AwsError(
            'AccessDeniedException',
            `User: ${caller} is not authorized to perform: kms:RetireGrant on resource: ${keyArn(key)}`,
          );
        }
        dropGrant(key, grant.grantId);
        return {};
      },
      async RevokeGrant(input, caller) {
        const key = manage(input.KeyId, caller, 'RevokeGrant');
        if (!key.grants.some((grant) => grant.grantId === input.GrantId)) {
          throw new AwsError('NotFoundException', `Grant ${input.GrantId} is not found.`);
        }
        dropGrant(key, input.GrantId);
        return {};
      },
      EnableKey: setState('EnableKey', 'Enabled'),
      DisableKey: setState('DisableKey', 'Disabled'),
      EnableKeyRotation: setRotation('EnableKeyRotation', true),
      DisableKeyRotation: setRotation('DisableKeyRotation', false),
      async GetKeyRotationStatus(input, caller) {
        const key = manage(input.KeyId, caller, 'GetKeyRotationStatus');
        return {
          KeyId: keyArn(key),
          KeyRotationEnabled: key.rotationEnabled,
          ...(key.rotationEnabled ? { RotationPeriodInDays: 365 } : {}),
        };
      },
      async RotateKeyOnDemand(input, caller) {
        const key = usable(manage(input.KeyId, caller, 'RotateKeyOnDemand'));
        const material = randomBytes(32).toString('base64');
        // All replicas of a multi-Region key share their material.
        for (const replica of key.multiRegion === undefined ? [key] : store.replicasOf(key.keyId))
          replica.material.push(material);
        store.save();
        return { KeyId: keyArn(key) };
      },
      async ScheduleKeyDeletion(input, caller) {
        const days = input.PendingWindowInDays ?? 30;
        if (!Number.isInteger(days) || days < 7 || days > 30) {
          throw invalid(
            `1 validation error detected: Value '${days}' at 'pendingWindowInDays' failed to satisfy constraint.`,
          );
        }
        const key = manage(input.KeyId, caller, 'ScheduleKeyDeletion');
        if (key.state === 'PendingDeletion')
          throw new AwsError('KMSInvalidStateException', `${keyArn(key)} is pending deletion.`);
        key.state = 'PendingDeletion';
        key.deletionDate = now().getTime() + days * 86_400_000;
        store.save();
        return {
          KeyId: keyArn(key),
          DeletionDate: seconds(key.deletionDate),
          KeyState: key.state,
          PendingWindowInDays: days,
        };
      },
      async CancelKeyDeletion(input, caller) {
        const key = manage(input.KeyId, caller, 'CancelKeyDeletion');
        if (key.state !== 'PendingDeletion')
          throw new AwsError('KMSInvalidStateException', `${keyArn(key)} is not pending deletion.`);
        key.state = 'Disabled';
        delete key.deletionDate;
        store.save();
        return { KeyId: keyArn(key) };
      },
    };
  };

  return {
    signingName: 'kms',
    async handle(request) {
      const region = regionOf(request.headers.authorization);
      const name = request.operation ?? '';
      const input = request.body.length === 0 ? {} : JSON.parse(request.body.toString('utf8'));
      try {
        if (lostRegions.has(region)) throw new AwsError('KMSInternalException', `${region} does not answer.`, 500);
        const response = await awsJson('kms', operationsOf(region)).handle(request);
        record(name, region, request.caller, input);
        return response;
      } catch (error) {
        record(name, region, request.caller, input, error instanceof AwsError ? error.code : 'InternalFailure');
        throw error;
      }
    },
    ensureKey({
      alias,
      keyId,
      description = '',
      multiRegion = false,
      policy = defaultKeyPolicy,
      enableRotation = false,
      region = defaultRegion,
    }) {
      const existing = store.aliases(region).find(([name]) => name === alias)?.[1];
      const key =
        existing === undefined
          ? store.create(region, { multiRegion, description, policy, keyId, now: now().getTime() })
          : store.resolve(region, existing, { aliases: false });
      key.policy = policy;
      key.rotationEnabled = enableRotation;
      store.setAlias(region, alias, key.keyId);
      return { keyId: key.keyId, arn: keyArn(key) };
    },
    setRegionLost(region, lost) {
      if (lost) lostRegions.add(region);
      else lostRegions.delete(region);
    },
  };
};
