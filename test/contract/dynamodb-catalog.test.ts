import { CreateTableCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll } from 'vitest';
import { LIST_INDEX } from '#functions/adapters/catalog-keys.ts';
import { catalogTable } from '#functions/adapters/catalog-table.ts';
import { dynamodbChains } from '#functions/adapters/dynamodb-chains.ts';
import { dynamodbClusters } from '#functions/adapters/dynamodb-clusters.ts';
import { dynamodbLeases } from '#functions/adapters/dynamodb-leases.ts';
import { dynamodbRuns } from '#functions/adapters/dynamodb-runs.ts';
import { fetchDynamoDbLocal } from '#local/cloud/dynamodb/fetch-dynamodb-local.ts';
import { type DynamoDb, startDynamoDb } from '#local/cloud/dynamodb/start-dynamodb.ts';
import { catalogContract } from './catalog-contract.ts';

let database: DynamoDb;
let client: DynamoDBClient;
let tables = 0;

beforeAll(async () => {
  await fetchDynamoDbLocal();
  database = await startDynamoDb();
  client = new DynamoDBClient({
    endpoint: database.origin,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  });
});

afterAll(async () => {
  client?.destroy();
  await database?.close();
});

const text = (name: string) => ({ AttributeName: name, AttributeType: 'S' as const });

/** The keys that infra/ gives the table; test/infra checks that it does. */
const createTable = async (): Promise<string> => {
  tables += 1;
  const name = `catalog-${tables}`;
  await client.send(
    new CreateTableCommand({
      TableName: name,
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: [text('pk'), text('sk'), text('gsi1pk'), text('gsi1sk')],
      KeySchema: [
        { AttributeName: 'pk', KeyType: 'HASH' },
        { AttributeName: 'sk', KeyType: 'RANGE' },
      ],
      GlobalSecondaryIndexes: [
        {
          IndexName: LIST_INDEX,
          KeySchema: [
            { AttributeName: 'gsi1pk', KeyType: 'HASH' },
            { AttributeName: 'gsi1sk', KeyType: 'RANGE' },
          ],
          Projection: { ProjectionType: 'ALL' },
        },
      ],
    }),
  );
  return name;
};

catalogContract('DynamoDB', async () => {
  const table = catalogTable(await createTable(), client);
  return {
    clusters: dynamodbClusters(table),
    leases: dynamodbLeases(table),
    chains: dynamodbChains(table),
    runs: dynamodbRuns(table),
  };
});
