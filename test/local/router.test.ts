import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { DescribeKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { operatorArn, Principals } from '#local/cloud/principals.ts';
import { callerHeader, type Router, startRouter } from '#local/cloud/router.ts';
import { FaultInjector } from '#local/cloud/s3/fault-injector.ts';
import { AwsError, awsJson } from '#local/cloud/service.ts';

const role = 'arn:aws:iam::000000000000:role/host';
const principals = new Principals();
const faults = new FaultInjector();

/** Answers with what it was sent, byte for byte, after it has begun to answer. */
const origin = createServer((request, response) => {
  response.writeHead(200, {
    'x-seen-host': request.headers.host ?? '',
    'x-seen-caller': String(request.headers[callerHeader]),
    'x-seen-path': request.url ?? '',
  });
  response.flushHeaders();
  request.pipe(response);
});

let router: Router;
beforeAll(async () => {
  origin.listen(0, '127.0.0.1');
  await once(origin, 'listening');
  router = await startRouter({
    principals,
    faults,
    services: [
      awsJson('kms', {
        DescribeKey: async ({ KeyId }, caller) => {
          if (KeyId === 'broken') {
            throw new TypeError('a defect');
          }
          if (KeyId !== 'k1') {
            throw new AwsError('NotFoundException', `There is no key ${KeyId}.`);
          }
          return { KeyMetadata: { KeyId, Description: caller } };
        },
      }),
      { signingName: 's3', origin: `http://127.0.0.1:${(origin.address() as AddressInfo).port}` },
    ],
  });
});
afterAll(async () => {
  await router.close();
  origin.close();
});

const authorization = (service: string, key = 'AKIAANY') =>
  `AWS4-HMAC-SHA256 Credential=${key}/20261122/us-east-1/${service}/aws4_request, SignedHeaders=host, Signature=0`;

const kms = (credentials: { accessKeyId: string; secretAccessKey: string }) =>
  new KMSClient({ endpoint: router.endpoint, region: 'us-east-1', credentials, maxAttempts: 1 });

describe('the one endpoint', () => {
  test('finds the service and the caller in the signature', async () => {
    const found = await kms(principals.credentialsFor(role)).send(new DescribeKeyCommand({ KeyId: 'k1' }));
    expect(found.KeyMetadata).toMatchObject({ KeyId: 'k1', Description: role });
  });

  test('takes an access key that nobody was given for the operator', async () => {
    const found = await kms({ accessKeyId: 'AKIAELSE', secretAccessKey: 's' }).send(
      new DescribeKeyCommand({ KeyId: 'k1' }),
    );
    expect(found.KeyMetadata?.Description).toBe(operatorArn);
  });

  test('answers errors as AWS does, and its own defects as internal failures', async () => {
    const client = kms(principals.credentialsFor(role));
    await expect(client.send(new DescribeKeyCommand({ KeyId: 'k2' }))).rejects.toMatchObject({
      name: 'NotFoundException',
      message: 'There is no key k2.',
    });
    await expect(client.send(new DescribeKeyCommand({ KeyId: 'broken' }))).rejects.toMatchObject({
      name: 'InternalFailure',
      $metadata: { httpStatusCode: 500 },
    });
  });

  test('fails the calls that a fault is about, of the caller that it is about, as often as it says', async () => {
    faults.set([
      {
        operations: ['kms:DescribeKey'],
        caller: 'role/host',
        times: 1,
        fault: { kind: 'error', status: 400, code: 'ThrottlingException' },
      },
    ]);
    const ask = (arn: string) => kms(principals.credentialsFor(arn)).send(new DescribeKeyCommand({ KeyId: 'k1' }));
    await ask('arn:aws:iam::000000000000:role/other');
    await expect(ask(role)).rejects.toMatchObject({ name: 'ThrottlingException' });
    await ask(role);
    faults.set([]);
  });

  test('finds a service by its target when the request is not signed', async () => {
    const response = await fetch(router.endpoint, {
      method: 'POST',
      headers: { 'x-amz-target': 'TrentService.DescribeKey' },
      body: '{"KeyId":"k1"}',
    });
    expect(await response.json()).toMatchObject({ KeyMetadata: { KeyId: 'k1' } });
  });

  test('refuses services and operations that it does not have, by name', async () => {
    const post = (headers: Record<string, string>) => fetch(router.endpoint, { method: 'POST', headers, body: '{}' });
    expect((await post({})).status).toBe(403);
    expect(await (await post({ authorization: authorization('sqs') })).json()).toMatchObject({
      __type: 'UnknownService',
    });
    const unknown = await post({ authorization: authorization('kms'), 'x-amz-target': 'TrentService.toString' });
    expect(await unknown.json()).toMatchObject({ __type: 'UnknownOperationException' });
  });

  test('passes a proxied service its requests as they are, with the caller, and streams both ways', async () => {
    const { accessKeyId } = principals.credentialsFor(role);
    const { promise: firstHalfIsBack, resolve: goOn } = Promise.withResolvers<void>();
    const halves = async function* () {
      yield Buffer.from('first half, ');
      // Only a router that does not wait for the whole body gets past this.
      await firstHalfIsBack;
      yield Buffer.from('second half');
    };
    const response = await fetch(`${router.endpoint}/bucket/key%20one?partNumber=1`, {
      method: 'PUT',
      headers: { authorization: authorization('s3', accessKeyId) },
      body: Readable.toWeb(Readable.from(halves())) as unknown as ReadableStream,
      duplex: 'half',
    } as RequestInit);
    expect(response.headers.get('x-seen-path')).toBe('/bucket/key%20one?partNumber=1');
    expect(response.headers.get('x-seen-caller')).toBe(role);
    expect(response.headers.get('x-seen-host')).toBe(new URL(router.endpoint).host);
    let text = '';
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += Buffer.from(chunk).toString();
      goOn();
    }
    expect(text).toBe('first half, second half');
  });

  test('knows a presigned URL by its credential', async () => {
    const { accessKeyId } = principals.credentialsFor(role);
    const credential = encodeURIComponent(`${accessKeyId}/20261122/us-east-1/s3/aws4_request`);
    const response = await fetch(`${router.endpoint}/bucket/key?X-Amz-Credential=${credential}`);
    expect(response.headers.get('x-seen-caller')).toBe(role);
  });

  test('says that it is there', async () => {
    const health = await fetch(`${router.endpoint}/_redoubt/health`);
    expect(await health.json()).toEqual({ status: 'ok', services: ['kms', 's3'] });
  });
});
