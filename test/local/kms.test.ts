import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateAliasCommand,
  CreateGrantCommand,
  CreateKeyCommand,
  DecryptCommand,
  DescribeKeyCommand,
  DisableKeyCommand,
  EncryptCommand,
  GenerateDataKeyCommand,
  GenerateDataKeyWithoutPlaintextCommand,
  KMSClient,
  ListGrantsCommand,
  ListRetirableGrantsCommand,
  ReEncryptCommand,
  ReplicateKeyCommand,
  RetireGrantCommand,
  RevokeGrantCommand,
  RotateKeyOnDemandCommand,
  ScheduleKeyDeletionCommand,
} from '@aws-sdk/client-kms';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKms, type Kms } from '#local/cloud/kms/kms.ts';
import { evaluateStatements, type Statement } from '#local/cloud/kms/statements.ts';
import { Principals } from '#local/cloud/principals.ts';
import { serveForTest } from './kms-ssm-endpoint.ts';

const host = 'arn:aws:iam::000000000000:role/host';
const planner = 'arn:aws:iam::000000000000:role/planner';
const policies: Record<string, readonly Statement[]> = {
  [planner]: [
    {
      Effect: 'Allow',
      Action: ['kms:GenerateDataKeyWithoutPlaintext'],
      Resource: '*',
      Condition: { StringEquals: { 'kms:EncryptionContext:cluster': 'shop' } },
    },
    {
      Effect: 'Allow',
      Action: 'kms:CreateGrant',
      Resource: '*',
      Condition: {
        'ForAllValues:StringEquals': { 'kms:GrantOperations': ['Decrypt', 'RetireGrant'] },
        StringEquals: { 'kms:GrantConstraintType': 'EncryptionContextEquals' },
        ArnLike: { 'kms:GranteePrincipal': 'arn:aws:iam::*:role/host*' },
        Null: { 'kms:RetiringPrincipal': 'false' },
      },
    },
  ],
};

const directory = mkdtempSync(join(tmpdir(), 'kms-'));
const principals = new Principals();
const options = {
  stateDirectory: join(directory, 'state'),
  logDirectory: join(directory, 'log'),
  policies: (arn: string) => policies[arn] ?? [],
};
const clients: KMSClient[] = [];
let kms: Kms;
let endpoint: Awaited<ReturnType<typeof serveForTest>>;
let root: KMSClient;
let keyId: string;

const clientOf = (arn: string, region = 'us-east-1') => {
  const client = new KMSClient({
    region,
    endpoint: endpoint.url,
    credentials: principals.credentialsFor(arn),
    maxAttempts: 1,
  });
  clients.push(client);
  return client;
};

beforeAll(async () => {
  kms = createKms(options);
  endpoint = await serveForTest([kms], principals);
  root = clientOf('arn:aws:iam::000000000000:root');
  keyId = (await root.send(new CreateKeyCommand({ MultiRegion: true }))).KeyMetadata?.KeyId ?? '';
});

afterAll(async () => {
  for (const client of clients) client.destroy();
  await endpoint.close();
  rmSync(directory, { recursive: true });
});

const context = { cluster: 'shop', chain: 'c1', purpose: 'backup-data' };
const wrapped = async (encryptionContext: Record<string, string> = context) =>
  (
    await root.send(
      new GenerateDataKeyWithoutPlaintextCommand({
        KeyId: keyId,
        KeySpec: 'AES_256',
        EncryptionContext: encryptionContext,
      }),
    )
  ).CiphertextBlob;
const grantFor = async (constraints: object, more: object = {}) =>
  root.send(
    new CreateGrantCommand({
      KeyId: keyId,
      GranteePrincipal: host,
      Operations: ['Decrypt'],
      Constraints: constraints,
      ...more,
    }),
  );

describe('cryptography', () => {
  test('a data key is opened by its blob and its encryption context alone', async () => {
    const made = await root.send(
      new GenerateDataKeyCommand({ KeyId: keyId, KeySpec: 'AES_256', EncryptionContext: context }),
    );
    const opened = await root.send(
      new DecryptCommand({
        CiphertextBlob: made.CiphertextBlob,
        EncryptionContext: { purpose: 'backup-data', chain: 'c1', cluster: 'shop' },
      }),
    );
    expect(opened.Plaintext).toEqual(made.Plaintext);
    expect(made.Plaintext).toHaveLength(32);
    expect(opened.KeyId).toBe(`arn:aws:kms:us-east-1:000000000000:key/${keyId}`);
  });

  test.each([
    ['absent', undefined],
    ['smaller', { cluster: 'shop', chain: 'c1' }],
    ['larger', { ...context, more: 'x' }],
    ['of another chain', { ...context, chain: 'c2' }],
    ['of the same text, split otherwise', { cluster: 'shopchain', c1: 'purpose' }],
  ])('an encryption context that is %s is InvalidCiphertextException', async (_, other) => {
    await expect(
      root.send(new DecryptCommand({ CiphertextBlob: await wrapped(), EncryptionContext: other })),
    ).rejects.toMatchObject({ name: 'InvalidCiphertextException' });
  });

  test('bytes that were changed, or that are no blob at all, are InvalidCiphertextException', async () => {
    const blob = Uint8Array.from((await wrapped()) ?? []);
    blob[blob.length - 1] = (blob.at(-1) ?? 0) ^ 1;
    for (const bytes of [blob, Buffer.from('not a blob')]) {
      await expect(
        root.send(new DecryptCommand({ CiphertextBlob: bytes, EncryptionContext: context })),
      ).rejects.toMatchObject({ name: 'InvalidCiphertextException' });
    }
  });

  test('naming a key that did not seal the blob is IncorrectKeyException', async () => {
    const other = (await root.send(new CreateKeyCommand({}))).KeyMetadata?.KeyId;
    await expect(
      root.send(new DecryptCommand({ KeyId: other, CiphertextBlob: await wrapped(), EncryptionContext: context })),
    ).rejects.toMatchObject({ name: 'IncorrectKeyException' });
  });

  test('ReEncrypt moves a blob to another key and context, and the plaintext stays', async () => {
    const other = (await root.send(new CreateKeyCommand({}))).KeyMetadata?.Arn ?? '';
    const sealed = await root.send(
      new EncryptCommand({ KeyId: keyId, Plaintext: Buffer.from('bytes'), EncryptionContext: context }),
    );
    const moved = await root.send(
      new ReEncryptCommand({
        CiphertextBlob: sealed.CiphertextBlob,
        SourceEncryptionContext: context,
        DestinationKeyId: other,
        DestinationEncryptionContext: { moved: 'yes' },
      }),
    );
    const opened = await root.send(
      new DecryptCommand({ CiphertextBlob: moved.CiphertextBlob, EncryptionContext: { moved: 'yes' } }),
    );
    expect(Buffer.from(opened.Plaintext ?? []).toString()).toBe('bytes');
    expect([moved.SourceKeyId?.endsWith(keyId), moved.KeyId, opened.KeyId]).toEqual([true, other, other]);
  });

  test('what was sealed before a rotation and before a restart still opens', async () => {
    const before = await wrapped();
    await root.send(new RotateKeyOnDemandCommand({ KeyId: keyId }));
    const restarted = await serveForTest([createKms(options)], principals);
    const client = new KMSClient({
      region: 'us-east-1',
      endpoint: restarted.url,
      credentials: principals.credentialsFor('arn:aws:iam::000000000000:root'),
    });
    const opened = await client.send(new DecryptCommand({ CiphertextBlob: before, EncryptionContext: context }));
    client.destroy();
    await restarted.close();
    expect(opened.Plaintext).toHaveLength(32);
  });
});

describe('keys', () => {
  test('an alias names its key, and one alias names one key only', async () => {
    await root.send(new CreateAliasCommand({ AliasName: 'alias/shop', TargetKeyId: keyId }));
    expect((await root.send(new DescribeKeyCommand({ KeyId: 'alias/shop' }))).KeyMetadata?.KeyId).toBe(keyId);
    await expect(
      root.send(new CreateAliasCommand({ AliasName: 'alias/shop', TargetKeyId: keyId })),
    ).rejects.toMatchObject({ name: 'AlreadyExistsException' });
  });

  test('an unknown key is NotFoundException; a disabled and a dying one are refused by their own names', async () => {
    const KeyId = (await root.send(new CreateKeyCommand({}))).KeyMetadata?.KeyId;
    const encrypt = (id: string | undefined) =>
      root.send(new EncryptCommand({ KeyId: id, Plaintext: Buffer.from('x') }));
    await expect(encrypt('00000000-0000-0000-0000-000000000000')).rejects.toMatchObject({ name: 'NotFoundException' });
    await root.send(new DisableKeyCommand({ KeyId }));
    await expect(encrypt(KeyId)).rejects.toMatchObject({ name: 'DisabledException' });
    await root.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 7 }));
    await expect(encrypt(KeyId)).rejects.toMatchObject({ name: 'KMSInvalidStateException' });
  });

  test('a replica of a multi-Region key opens what the primary sealed, also when the primary region is lost', async () => {
    const replica = await root.send(new ReplicateKeyCommand({ KeyId: keyId, ReplicaRegion: 'eu-west-1' }));
    expect(replica.ReplicaKeyMetadata).toMatchObject({ KeyId: keyId, MultiRegion: true });
    const CiphertextBlob = await wrapped();
    kms.setRegionLost('us-east-1', true);
    const lost = root.send(new DecryptCommand({ CiphertextBlob, EncryptionContext: context }));
    await expect(lost).rejects.toMatchObject({ name: 'KMSInternalException' });
    const elsewhere = clientOf('arn:aws:iam::000000000000:root', 'eu-west-1');
    const opened = await elsewhere.send(new DecryptCommand({ CiphertextBlob, EncryptionContext: context }));
    kms.setRegionLost('us-east-1', false);
    expect(opened.Plaintext).toHaveLength(32);
  });
});

describe('grants', () => {
  const decrypt = async (encryptionContext: Record<string, string> = context) =>
    clientOf(host).send(
      new DecryptCommand({ CiphertextBlob: await wrapped(encryptionContext), EncryptionContext: encryptionContext }),
    );

  test('without a grant the host is refused; with one it decrypts; once retired it is refused again', async () => {
    await expect(decrypt()).rejects.toMatchObject({ name: 'AccessDeniedException' });
    const { GrantId, GrantToken } = await grantFor({ EncryptionContextEquals: context });
    expect((await decrypt()).Plaintext).toHaveLength(32);
    expect((await root.send(new ListGrantsCommand({ KeyId: keyId, GrantId }))).Grants).toMatchObject([
      { GranteePrincipal: host, Operations: ['Decrypt'], Constraints: { EncryptionContextEquals: context } },
    ]);
    await root.send(new RetireGrantCommand({ GrantToken }));
    await expect(decrypt()).rejects.toMatchObject({ name: 'AccessDeniedException' });
  });

  test('a session of the granted role acts under the grant; another role does not', async () => {
    const { GrantId } = await grantFor({ EncryptionContextEquals: context });
    const send = async (arn: string) =>
      clientOf(arn).send(new DecryptCommand({ CiphertextBlob: await wrapped(), EncryptionContext: context }));
    expect((await send('arn:aws:sts::000000000000:assumed-role/host/i-1')).Plaintext).toHaveLength(32);
    await expect(send('arn:aws:sts::000000000000:assumed-role/other/i-1')).rejects.toMatchObject({
      name: 'AccessDeniedException',
    });
    await root.send(new RevokeGrantCommand({ KeyId: keyId, GrantId }));
  });

  test.each([
    ['EncryptionContextEquals', { ...context, more: 'x' }, false],
    ['EncryptionContextSubset', { ...context, more: 'x' }, true],
    ['EncryptionContextSubset', { ...context, chain: 'c2' }, false],
    ['EncryptionContextEquals', { cluster: 'shop' }, false],
  ])('a grant constrained by %s, a request with %o: allowed %s', async (constraint, asked, allowed) => {
    const { GrantId } = await grantFor({ [constraint]: context });
    const outcome = await decrypt(asked as Record<string, string>).then(
      () => true,
      (error: Error) => (error.name === 'AccessDeniedException' ? false : error),
    );
    await root.send(new RevokeGrantCommand({ KeyId: keyId, GrantId }));
    expect(outcome).toBe(allowed);
  });

  test('a grant allows the operations that it lists and no other', async () => {
    const { GrantId } = await grantFor({ EncryptionContextEquals: context });
    const encrypt = clientOf(host).send(
      new EncryptCommand({ KeyId: keyId, Plaintext: Buffer.from('x'), EncryptionContext: context }),
    );
    await expect(encrypt).rejects.toMatchObject({ name: 'AccessDeniedException' });
    await root.send(new RevokeGrantCommand({ KeyId: keyId, GrantId }));
  });

  test('only the retiring principal, or a grantee that was given RetireGrant, may retire', async () => {
    const retiring = await grantFor({ EncryptionContextEquals: context }, { RetiringPrincipal: planner });
    const listed = await root.send(new ListRetirableGrantsCommand({ RetiringPrincipal: planner }));
    expect(listed.Grants?.map(({ GrantId }) => GrantId)).toEqual([retiring.GrantId]);
    const retire = (arn: string, GrantToken: string | undefined) =>
      clientOf(arn).send(new RetireGrantCommand({ GrantToken }));
    await expect(retire(host, retiring.GrantToken)).rejects.toMatchObject({ name: 'AccessDeniedException' });
    await retire(planner, retiring.GrantToken);
    const own = await grantFor({ EncryptionContextEquals: context }, { Operations: ['Decrypt', 'RetireGrant'] });
    await retire(host, own.GrantToken);
    await expect(retire(host, own.GrantToken)).rejects.toMatchObject({ name: 'InvalidGrantTokenException' });
  });

  test('a named grant asked for twice is one grant', async () => {
    const first = await grantFor({ EncryptionContextEquals: context }, { Name: 'run-1' });
    const second = await grantFor({ EncryptionContextEquals: context }, { Name: 'run-1' });
    expect(second.GrantId).toBe(first.GrantId);
    await root.send(new RevokeGrantCommand({ KeyId: keyId, GrantId: first.GrantId }));
  });
});

describe('policies', () => {
  test('a role may do what its statements allow, under their conditions, and nothing else', async () => {
    const client = clientOf(planner);
    const generate = (cluster: string) =>
      client.send(
        new GenerateDataKeyWithoutPlaintextCommand({
          KeyId: keyId,
          KeySpec: 'AES_256',
          EncryptionContext: { ...context, cluster },
        }),
      );
    expect((await generate('shop')).CiphertextBlob?.length).toBeGreaterThan(60);
    await expect(generate('bank')).rejects.toMatchObject({ name: 'AccessDeniedException' });
    const opened = client.send(new DecryptCommand({ CiphertextBlob: await wrapped(), EncryptionContext: context }));
    await expect(opened).rejects.toMatchObject({ name: 'AccessDeniedException' });
  });

  test.each([
    ['as the policy wants it', {}, true],
    ['with an operation too many', { Operations: ['Decrypt', 'Encrypt'] }, false],
    ['without a constraint', { Constraints: undefined }, false],
    ['with the weaker constraint', { Constraints: { EncryptionContextSubset: context } }, false],
    ['to another grantee', { GranteePrincipal: planner }, false],
    ['without a retiring principal', { RetiringPrincipal: undefined }, false],
  ])('a grant %s', async (_, change, allowed) => {
    const asked = clientOf(planner).send(
      new CreateGrantCommand({
        KeyId: keyId,
        GranteePrincipal: host,
        RetiringPrincipal: planner,
        Operations: ['Decrypt'],
        Constraints: { EncryptionContextEquals: context },
        ...change,
      } as ConstructorParameters<typeof CreateGrantCommand>[0]),
    );
    if (!allowed) return expect(asked).rejects.toMatchObject({ name: 'AccessDeniedException' });
    const { GrantId } = await asked;
    await root.send(new RevokeGrantCommand({ KeyId: keyId, GrantId }));
  });

  test('a key policy without the account shuts IAM out; a deny in it beats a grant', async () => {
    const closed = kms.ensureKey({
      alias: 'alias/closed',
      policy: [
        { Effect: 'Deny', Principal: { AWS: host }, Action: 'kms:Decrypt', Resource: '*' },
        { Effect: 'Allow', Principal: { AWS: host }, Action: 'kms:Encrypt', Resource: '*' },
      ],
    });
    const generate = clientOf(planner).send(
      new GenerateDataKeyWithoutPlaintextCommand({ KeyId: closed.arn, KeySpec: 'AES_256', EncryptionContext: context }),
    );
    await expect(generate).rejects.toMatchObject({ name: 'AccessDeniedException' });
    await root.send(
      new CreateGrantCommand({ KeyId: closed.keyId, GranteePrincipal: host, Operations: ['Decrypt', 'Encrypt'] }),
    );
    const { CiphertextBlob } = await clientOf(host).send(
      new EncryptCommand({ KeyId: closed.arn, Plaintext: Buffer.from('x') }),
    );
    const decrypt = clientOf(host).send(new DecryptCommand({ CiphertextBlob }));
    await expect(decrypt).rejects.toMatchObject({ name: 'AccessDeniedException' });
  });

  test('a condition operator that is not known is an error, never a permission', () => {
    const statement: Statement = {
      Effect: 'Allow',
      Action: '*',
      Resource: '*',
      Condition: { IpAddress: { 'aws:SourceIp': '10.0.0.0/8' } },
    };
    expect(() => evaluateStatements([statement], { action: 'kms:Decrypt', resource: 'arn', context: {} })).toThrow(
      'IpAddress',
    );
  });
});

test('the trail has every call with its caller and context, and no key byte', async () => {
  const made = await root.send(
    new GenerateDataKeyCommand({ KeyId: keyId, KeySpec: 'AES_256', EncryptionContext: { trail: 'seen' } }),
  );
  const trail = readFileSync(join(directory, 'log/kms.jsonl'), 'utf8');
  const events = trail
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(events.at(-1)).toMatchObject({
    eventName: 'GenerateDataKey',
    userIdentity: { arn: 'arn:aws:iam::000000000000:root' },
    requestParameters: { encryptionContext: { trail: 'seen' } },
  });
  expect(events.some(({ errorCode }) => errorCode === 'AccessDeniedException')).toBe(true);
  for (const secret of [made.Plaintext, made.CiphertextBlob]) {
    expect(trail).not.toContain(Buffer.from(secret ?? []).toString('base64'));
  }
});
