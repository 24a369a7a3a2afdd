import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateKeyCommand, DecryptCommand, DisableKeyCommand, EnableKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

const clientOf = (arn: string): KMSClient => {
  const client = new KMSClient({
    region: 'us-east-1',
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

const open = async (role: string, key: WrappedKey, token?: string) => {
  const { Plaintext } = await clientOf(role).send(
    new DecryptCommand({
      CiphertextBlob: Buffer.from(key.ciphertext, 'base64'),
      EncryptionContext: { ...key.context },
      ...(token && { GrantTokens: [token] }),
    }),
  );
  return Plaintext?.length;
};

let names = 0;
const nextName = (): string => {
  names += 1;
  return `redoubt-run-${names}-1`;
};

describe('keys in KMS', () => {
  it('are 32 bytes for AES-256, wrapped under the key of the control plane and bound to their chain', async () => {
    const key = await keys.generate(context);
    expect(key).toMatchObject({ kmsKey: keyArn, context });
    const { token, ...grant } = await keys.lend({ key, role: host, name: nextName() });
    expect(await open(host, key, token)).toBe(32);
    await keys.revoke(grant);
  });

  it('are lent to one role, for the key of one chain', async () => {
    const key = await keys.generate(context);
    const other = await keys.generate(otherContext);
    const { token, ...grant } = await keys.lend({ key, role: host, name: nextName() });
    await expect(open(host, other, token)).rejects.toMatchObject({ name: 'AccessDeniedException' });
    await expect(open(otherHost, key, token)).rejects.toMatchObject({ name: 'AccessDeniedException' });
    await keys.revoke(grant);
  });

  it('cannot be opened any more once the grant is revoked, and revoking again is fine', async () => {
    const key = await keys.generate(context);
    const { token, ...grant } = await keys.lend({ key, role: host, name: nextName() });
    await keys.revoke(grant);
    await expect(open(host, key, token)).rejects.toMatchObject({ name: 'AccessDeniedException' });
    await expect(keys.revoke(grant)).resolves.toBeUndefined();
  });

  it('are lent once under one name, and found by it', async () => {
    const key = await keys.generate(context);
    const name = nextName();
    const first = await keys.lend({ key, role: host, name });
    const second = await keys.lend({ key, role: host, name });
    expect(second.grant).toBe(first.grant);
    const found = await keys.findGrants([name, 'redoubt-nobody-1']);
    expect(found).toEqual([{ kmsKey: keyArn, grant: first.grant }]);
    await keys.revoke(first);
    expect(await keys.findGrants([name])).toEqual([]);
  });

  it('are refused by name where the key is disabled, is not there, or may not be used', async () => {
    await root.send(new DisableKeyCommand({ KeyId: keyArn }));
    await expect(keys.generate(context)).rejects.toMatchObject({ name: 'KeyRefused' });
    await root.send(new EnableKeyCommand({ KeyId: keyArn }));
    await expect(kmsKeys(`${keyArn.slice(0, -4)}0000`, root).generate(context)).rejects.toMatchObject({
      name: 'KeyRefused',
    });
    await expect(kmsKeys(keyArn, clientOf(otherHost)).generate(context)).rejects.toMatchObject({ name: 'KeyRefused' });
  });

  it('are an outage where KMS does not answer', async () => {
    const nobody = new KMSClient({
      region: 'us-east-1',
      endpoint: 'http://127.0.0.1:9',
      credentials: { accessKeyId: 'a', secretAccessKey: 's' },
      maxAttempts: 1,
    });
    clients.push(nobody);
    await expect(kmsKeys(keyArn, nobody).generate(context)).rejects.toMatchObject({ name: 'ServiceUnavailable' });
  });
});
