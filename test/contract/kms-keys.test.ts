import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateKeyCommand,
  DecryptCommand,
  DisableKeyCommand,
  EnableKeyCommand,
  KMSClient,
  ReplicateKeyCommand,
} from '@aws-sdk/client-kms';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clusterIdSchema } from '#core/ids.ts';
import type { Keys } from '#core/ports/keys.ts';
import { encryptionContext, type WrappedKey } from '#core/wrapped-key.ts';
import { kmsKeys } from '#functions/adapters/kms-keys.ts';
import { createKms } from '#local/cloud/kms/kms.ts';
import { Principals } from '#local/cloud/principals.ts';
import { SHOP, sampleAddress } from '../doubles/sample-manifest.ts';
import { serveForTest } from '../local/kms-ssm-endpoint.ts';

const host = 'arn:aws:iam::000000000000:role/shop-database';
const otherHost = 'arn:aws:iam::000000000000:role/other-database';
const directory = mkdtempSync(join(tmpdir(), 'kms-keys-'));
const principals = new Principals();
const clients: KMSClient[] = [];
let endpoint: Awaited<ReturnType<typeof serveForTest>>;
let root: KMSClient;
let keys: Keys;
let keyArn: string;

const clientOf = (arn: string, region = 'us-east-1'): KMSClient => {
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
  const kms = createKms({
    stateDirectory: join(directory, 'state'),
    logDirectory: join(directory, 'log'),
    policies: () => [],
  });
  endpoint = await serveForTest([kms], principals);
  root = clientOf('arn:aws:iam::000000000000:root');
  keyArn = (await root.send(new CreateKeyCommand({}))).KeyMetadata?.Arn ?? '';
  keys = kmsKeys(keyArn, root);
});

afterAll(async () => {
  for (const client of clients) client.destroy();
  await endpoint?.close();
  rmSync(directory, { recursive: true });
});

const context = encryptionContext(SHOP, sampleAddress(0).chain, 'backup-data');
const otherContext = encryptionContext(SHOP, sampleAddress(0, 23).chain, 'backup-data');

const decrypt = (key: WrappedKey, token?: string) =>
  new DecryptCommand({
    KeyId: key.kmsKey,
    CiphertextBlob: Buffer.from(key.ciphertext, 'base64'),
    EncryptionContext: { ...key.context },
    ...(token && { GrantTokens: [token] }),
  });

const open = async (role: string, key: WrappedKey, token?: string) =>
  (await clientOf(role).send(decrypt(key, token))).Plaintext?.length;

let names = 0;
const nextName = (): string => {
  names += 1;
  return `redoubt-run-${names}-1`;
};

describe('keys in KMS', () => {
  it('are 32 bytes for AES-256, wrapped under the key of the control plane and bound to their chain', async () => {
    const key = await keys.generate(context, 32);
    expect(key).toMatchObject({ kmsKey: keyArn, context });
    const { token, ...grant } = await keys.lend({ keys: { data: key }, role: host, name: nextName() });
    expect(await open(host, key, token)).toBe(32);
    await keys.revoke(grant);
  });

  it('are lent to one role, for the keys of one chain', async () => {
    const key = await keys.generate(context, 32);
    const other = await keys.generate(otherContext, 32);
    const { token, ...grant } = await keys.lend({ keys: { data: key }, role: host, name: nextName() });
    await expect(open(host, other, token)).rejects.toMatchObject({ name: 'AccessDeniedException' });
    await expect(open(otherHost, key, token)).rejects.toMatchObject({ name: 'AccessDeniedException' });
    await keys.revoke(grant);
  });

  it('are lent together, whatever their purpose, by one grant', async () => {
    const { cluster, chain } = context;
    const made = await Promise.all([
      keys.generate(context, 32),
      keys.generate(encryptionContext(cluster, chain, 'engine-key'), 24),
      keys.generate(encryptionContext(cluster, chain, 'transition-key'), 32),
    ]);
    const [data, engine, transition] = made;
    const { token, ...grant } = await keys.lend({ keys: { data, engine, transition }, role: host, name: nextName() });
    expect(await Promise.all(made.map((key) => open(host, key, token)))).toEqual([32, 24, 32]);
    await keys.revoke(grant);
    for (const key of made)
      await expect(open(host, key, token)).rejects.toMatchObject({ name: 'AccessDeniedException' });
  });

  it('are not lent where they are under two KMS keys', async () => {
    const data = await keys.generate(context, 32);
    const elsewhere = { ...data, kmsKey: `${keyArn.slice(0, -4)}0000` };
    await expect(
      keys.lend({ keys: { data, transition: elsewhere }, role: host, name: nextName() }),
    ).rejects.toMatchObject({ name: 'KeyRefused', detail: expect.stringContaining('redoubt keys rewrap') });
  });

  it('move to another KMS key as they are, and both forms open until the first KMS key is gone', async () => {
    const to = (await root.send(new CreateKeyCommand({}))).KeyMetadata?.Arn ?? '';
    const before = await keys.generate(context, 24);
    const after = await keys.rewrap(before, to);
    expect(after).toMatchObject({ kmsKey: to, context });
    expect(after.ciphertext).not.toBe(before.ciphertext);
    const plain = async (key: WrappedKey) => {
      const { token, ...grant } = await keys.lend({ keys: { data: key }, role: host, name: nextName() });
      const answer = await clientOf(host).send(decrypt(key, token));
      await keys.revoke(grant);
      return Buffer.from(answer.Plaintext ?? []).toString('hex');
    };
    const bytes = await plain(before);
    expect(bytes).toHaveLength(48);
    expect(await plain(after)).toBe(bytes);
    await root.send(new DisableKeyCommand({ KeyId: keyArn }));
    expect(await plain(after)).toBe(bytes);
    await expect(keys.rewrap(before, to)).rejects.toMatchObject({ name: 'KeyRefused' });
    await root.send(new EnableKeyCommand({ KeyId: keyArn }));
  });

  it('of a multi-Region key open under its replica, and move to it when the first Region is lost', async () => {
    const primary = (await root.send(new CreateKeyCommand({ MultiRegion: true }))).KeyMetadata?.Arn ?? '';
    await root.send(new ReplicateKeyCommand({ KeyId: primary, ReplicaRegion: 'eu-central-1' }));
    const replica = primary.replace('us-east-1', 'eu-central-1');
    const before = await kmsKeys(primary, root).generate(context, 32);
    const there = clientOf('arn:aws:iam::000000000000:root', 'eu-central-1');
    const after = await kmsKeys(replica, there).rewrap(before, replica);
    expect(after).toMatchObject({ kmsKey: replica, context });
    const elsewhere = kmsKeys(replica, there);
    const { token } = await elsewhere.lend({ keys: { data: after }, role: host, name: nextName() });
    const answer = await clientOf(host, 'eu-central-1').send(decrypt(after, token));
    expect(answer.Plaintext).toHaveLength(32);
  });

  it('cannot be opened any more once the grant is revoked, and revoking again is fine', async () => {
    const key = await keys.generate(context, 32);
    const { token, ...grant } = await keys.lend({ keys: { data: key }, role: host, name: nextName() });
    await keys.revoke(grant);
    await expect(open(host, key, token)).rejects.toMatchObject({ name: 'AccessDeniedException' });
    await expect(keys.revoke(grant)).resolves.toBeUndefined();
  });

  it('are lent once under one name, and found by their cluster', async () => {
    const key = await keys.generate(context, 32);
    const name = nextName();
    const first = await keys.lend({ keys: { data: key }, role: host, name });
    const second = await keys.lend({ keys: { data: key }, role: host, name });
    expect(second.grant).toBe(first.grant);
    const found = { kmsKey: keyArn, grant: first.grant, name };
    expect(await keys.findGrants(keyArn, context.cluster)).toContainEqual(found);
    expect(await keys.findGrants(keyArn, clusterIdSchema.parse('another'))).toEqual([]);
    await keys.revoke(first);
    expect(await keys.findGrants(keyArn, context.cluster)).not.toContainEqual(found);
  });

  it('are found where there are more grants than one answer has', async () => {
    const key = await keys.generate(context, 32);
    const lent = [];
    for (let count = 0; count < 60; count++) {
      const name = nextName();
      const { token: _, ...grant } = await keys.lend({ keys: { data: key }, role: host, name });
      lent.push({ ...grant, name });
    }
    expect(await keys.findGrants(keyArn, context.cluster)).toEqual(expect.arrayContaining(lent));
    for (const grant of lent) await keys.revoke(grant);
  });

  it('are refused by name where the key is disabled, is not there, or may not be used', async () => {
    await root.send(new DisableKeyCommand({ KeyId: keyArn }));
    await expect(keys.generate(context, 32)).rejects.toMatchObject({ name: 'KeyRefused' });
    await root.send(new EnableKeyCommand({ KeyId: keyArn }));
    await expect(kmsKeys(`${keyArn.slice(0, -4)}0000`, root).generate(context, 32)).rejects.toMatchObject({
      name: 'KeyRefused',
    });
    await expect(kmsKeys(keyArn, clientOf(otherHost)).generate(context, 32)).rejects.toMatchObject({
      name: 'KeyRefused',
    });
  });

  it('are an outage where KMS does not answer', async () => {
    const nobody = new KMSClient({
      region: 'us-east-1',
      endpoint: 'http://127.0.0.1:9',
      credentials: { accessKeyId: 'a', secretAccessKey: 's' },
      maxAttempts: 1,
    });
    clients.push(nobody);
    await expect(kmsKeys(keyArn, nobody).generate(context, 32)).rejects.toMatchObject({ name: 'ServiceUnavailable' });
  });
});
