import { randomBytes } from 'node:crypto';
import {
  DecryptCommand,
  DisabledException,
  KeyUnavailableException,
  KMSClient,
  KMSInternalException,
  KMSServiceException,
} from '@aws-sdk/client-kms';
import { mockClient } from 'aws-sdk-client-mock';
import { beforeEach, describe, expect, it } from 'vitest';
import { openDataKey } from '#agent/keys/open-data-key.ts';
import { RedoubtError } from '#core/errors.ts';
import { wrappedKeySchema } from '#core/wrapped-key.ts';

const kms = mockClient(KMSClient);
beforeEach(() => kms.reset());

const wrapped = wrappedKeySchema.parse({
  kmsKey: 'arn:aws:kms:us-east-1:000000000000:key/1',
  ciphertext: Buffer.from('wrapped').toString('base64'),
  context: { cluster: 'orders', chain: '20261122T051210Z-3f9a1c', purpose: 'backup-data' },
});

const open = (signal = new AbortController().signal) => openDataKey(new KMSClient({}), 'grant', signal)(wrapped);

describe('opening a data key', () => {
  it('names key, context and grant, and keeps the only copy', async () => {
    const plaintext = randomBytes(32);
    const answered = new Uint8Array(plaintext);
    kms.on(DecryptCommand).resolves({ Plaintext: answered });
    const key = await open();
    expect(key.bytes.equals(plaintext)).toBe(true);
    expect(answered.every((byte) => byte === 0)).toBe(true);
    expect(kms.commandCalls(DecryptCommand)[0]?.args[0].input).toMatchObject({
      KeyId: wrapped.kmsKey,
      CiphertextBlob: Buffer.from('wrapped'),
      EncryptionContext: wrapped.context,
      GrantTokens: ['grant'],
    });
    key.destroy();
    expect(key.bytes.every((byte) => byte === 0)).toBe(true);
  });

  it('says that KMS refuses, and never what was asked with', async () => {
    kms.on(DecryptCommand).rejects(new DisabledException({ message: 'disabled', $metadata: {} }));
    const error = await open().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'KeyRefused' });
    expect((error as Error).message).toContain('DisabledException');
    expect((error as Error).message).not.toContain('grant');
  });

  it.each([
    ['has trouble itself', new KMSInternalException({ message: 'trouble', $metadata: { httpStatusCode: 500 } })],
    ['throttles', new KMSServiceException({ name: 'ThrottlingException', $fault: 'client', $metadata: {} })],
    ['cannot be reached', Object.assign(new Error('connect ECONNREFUSED'), { name: 'Error' })],
    ['has no such key at hand', new KeyUnavailableException({ message: 'later', $metadata: {} })],
  ])('does not call it a refusal when KMS %s: another try may succeed', async (_what, thrown) => {
    kms.on(DecryptCommand).rejects(thrown);
    await expect(open()).rejects.toMatchObject({ code: 'ServiceUnavailable', retryable: true });
  });

  it('takes no key of another length', async () => {
    kms.on(DecryptCommand).resolves({ Plaintext: randomBytes(16) });
    await expect(open()).rejects.toMatchObject({ code: 'KeyInvalid' });
  });

  it('ends with the run', async () => {
    kms.on(DecryptCommand).rejects(new Error('aborted'));
    const signal = AbortSignal.abort(new RedoubtError('RunCancelled', 'over'));
    await expect(open(signal)).rejects.toMatchObject({ code: 'RunCancelled' });
  });
});
