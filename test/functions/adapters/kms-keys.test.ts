import { CreateGrantCommand, InvalidArnException, KMSClient } from '@aws-sdk/client-kms';
import { mockClient } from 'aws-sdk-client-mock';
import { expect, it } from 'vitest';
import { kmsKeys } from '#functions/adapters/kms-keys.ts';
import { sampleAddress, sampleKey } from '#test/doubles/sample-manifest.ts';

it('a role that is not there is named: what KMS says of it is its own name for a wrong ARN', async () => {
  const client = mockClient(KMSClient);
  client.on(CreateGrantCommand).rejects(new InvalidArnException({ $metadata: {}, message: '' }));
  const data = sampleKey(sampleAddress(0));
  const keys = kmsKeys(data.kmsKey, new KMSClient({ region: 'us-east-1' }));
  const role = 'arn:aws:iam::111122223333:role/shop-databsae';
  await expect(keys.lend({ keys: { data }, role, name: 'redoubt-run-1' })).rejects.toMatchObject({
    name: 'KeyRefused',
    detail: `KMS knows no role ${role}, which the cluster file names for the host`,
  });
});
