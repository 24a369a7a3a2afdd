import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { ProxiedService } from '#local/cloud/service.ts';
import { dynamoDbPart } from '#local/cloud/standard-services.ts';
import type { CreatePart } from '#local/cloud/start-cloud.ts';

export interface Capacity {
  read: number;
  write: number;
}

interface Consumed {
  readonly CapacityUnits?: number;
  readonly ReadCapacityUnits?: number;
  readonly WriteCapacityUnits?: number;
}

const READS = /^(GetItem|Query|Scan|BatchGetItem|TransactGetItems)$/;

/** The catalog's table, asked with every request what it consumed; the sums go to `capacity`. */
export const countingDynamoDb =
  (capacity: Capacity): CreatePart =>
  async (context) => {
    const part = await dynamoDbPart(context);
    const { origin } = part.service as ProxiedService;
    const proxy = createServer((request, response) => {
      void (async () => {
        const operation = String(request.headers['x-amz-target']).split('.').at(-1) ?? '';
        const body = { ...JSON.parse((await buffer(request)).toString('utf8')), ReturnConsumedCapacity: 'TOTAL' };
        const { 'content-length': _, host: __, connection: ___, ...headers } = request.headers;
        const answer = await fetch(origin, {
          method: 'POST',
          headers: headers as Record<string, string>,
          body: JSON.stringify(body),
        });
        const text = await answer.text();
        const { ConsumedCapacity: consumed = [] } = JSON.parse(text) as { ConsumedCapacity?: Consumed | Consumed[] };
        for (const units of [consumed].flat()) {
          const both = units.CapacityUnits ?? 0;
          capacity.read += units.ReadCapacityUnits ?? (READS.test(operation) ? both : 0);
          capacity.write += units.WriteCapacityUnits ?? (READS.test(operation) ? 0 : both);
        }
        response.writeHead(answer.status, { 'content-type': 'application/x-amz-json-1.0' }).end(text);
      })().catch((error: Error) => response.writeHead(502).end(error.message));
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    return {
      ...part,
      service: { signingName: 'dynamodb', origin: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` },
      close: async () => {
        proxy.closeAllConnections();
        proxy.close();
        await part.close?.();
      },
    };
  };
