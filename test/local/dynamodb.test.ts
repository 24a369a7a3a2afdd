import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  DeleteTableCommand,
  DescribeTableCommand,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  TransactWriteItemsCommand,
} from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fetchDynamoDbLocal } from '#local/cloud/dynamodb/fetch-dynamodb-local.ts';
import { type DynamoDb, startDynamoDb } from '#local/cloud/dynamodb/start-dynamodb.ts';
import { Principals } from '#local/cloud/principals.ts';
import { startRouter } from '#local/cloud/router.ts';

const directory = mkdtempSync(join(tmpdir(), 'dynamodb-'));
const TableName = 'catalog';
const table = {
  AttributeDefinitions: ['pk', 'sk', 'gsi'].map((AttributeName) => ({ AttributeName, AttributeType: 'S' })),
  KeySchema: [
    { AttributeName: 'pk', KeyType: 'HASH' },
    { AttributeName: 'sk', KeyType: 'RANGE' },
  ],
  GlobalSecondaryIndexes: [
    {
      IndexName: 'stale',
      KeySchema: [{ AttributeName: 'gsi', KeyType: 'HASH' }],
      Projection: { ProjectionType: 'ALL' },
    },
  ],
  BillingMode: 'PAY_PER_REQUEST',
  Replicas: [
    {
      Region: 'us-east-1',
      DeletionProtectionEnabled: true,
      PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
    },
  ],
  TimeToLiveSpecification: { AttributeName: 'expires', Enabled: true },
};
let database: DynamoDb;
let router: Awaited<ReturnType<typeof startRouter>>;
let client: DynamoDBClient;

const start = async () => {
  database = await startDynamoDb({ stateDirectory: directory });
  const principals = new Principals();
  router = await startRouter({ services: [database], principals });
  client = new DynamoDBClient({
    region: 'us-east-1',
    endpoint: router.endpoint,
    credentials: principals.credentialsFor('arn:aws:iam::000000000000:role/any'),
    maxAttempts: 1,
  });
};
const stop = async () => {
  client.destroy();
  await router.close();
  await database.close();
};
const put = (sk: string, more: object = {}) =>
  client.send(
    new PutItemCommand({ TableName, Item: { pk: { S: 'shop' }, sk: { S: sk }, gsi: { S: 'all' } }, ...more }),
  );

beforeAll(async () => {
  await fetchDynamoDbLocal();
  await start();
  await database.ensureTable(TableName, table);
});

afterAll(async () => {
  await stop();
  rmSync(directory, { recursive: true });
});

test('a table is made from its resolved template properties, once', async () => {
  await database.ensureTable(TableName, table);
  const { Table } = await client.send(new DescribeTableCommand({ TableName }));
  expect(Table?.KeySchema).toEqual(table.KeySchema);
  expect(Table?.GlobalSecondaryIndexes?.map(({ IndexName }) => IndexName)).toEqual(['stale']);
});

test('conditional writes and transactions are refused as a whole, with the reasons and the item that was there', async () => {
  await put('once');
  const again = put('once', {
    ConditionExpression: 'attribute_not_exists(pk)',
    ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
  });
  await expect(again).rejects.toMatchObject({ name: 'ConditionalCheckFailedException', Item: { sk: { S: 'once' } } });
  const transaction = client.send(
    new TransactWriteItemsCommand({
      TransactItems: [
        { Put: { TableName, Item: { pk: { S: 'shop' }, sk: { S: 'never' } } } },
        {
          ConditionCheck: {
            TableName,
            Key: { pk: { S: 'shop' }, sk: { S: 'once' } },
            ConditionExpression: 'attribute_not_exists(pk)',
          },
        },
      ],
    }),
  );
  await expect(transaction).rejects.toMatchObject({
    name: 'TransactionCanceledException',
    CancellationReasons: [{ Code: 'None' }, { Code: 'ConditionalCheckFailed' }],
  });
  const never = new GetItemCommand({ TableName, Key: { pk: { S: 'shop' }, sk: { S: 'never' } } });
  expect((await client.send(never)).Item).toBeUndefined();
});

test('items are found by the index', async () => {
  await put('indexed');
  const { Items } = await client.send(
    new QueryCommand({
      TableName,
      IndexName: 'stale',
      KeyConditionExpression: 'gsi = :all',
      ExpressionAttributeValues: { ':all': { S: 'all' } },
    }),
  );
  expect(Items?.map(({ sk }) => sk?.S)).toContain('indexed');
});

test('a protected table is not deleted', async () => {
  await expect(client.send(new DeleteTableCommand({ TableName }))).rejects.toMatchObject({
    name: 'ValidationException',
  });
});

test('it listens on loopback only', () => {
  const port = Number(new URL(database.origin).port).toString(16).toUpperCase().padStart(4, '0');
  const listening = ['tcp', 'tcp6']
    .flatMap((table) => readFileSync(`/proc/net/${table}`, 'utf8').split('\n'))
    .map((line) => line.trim().split(/\s+/))
    .filter(([, address = '', , state]) => address.endsWith(`:${port}`) && state === '0A')
    .map(([, address]) => address);
  // 127.0.0.1, also where Java speaks of it as an IPv6 address.
  expect(listening).toEqual([expect.stringMatching(/^(0100007F|0000000000000000FFFF00000100007F):/)]);
});

test('what was written is there after a restart', async () => {
  await put('kept');
  await stop();
  await start();
  const kept = new GetItemCommand({ TableName, Key: { pk: { S: 'shop' }, sk: { S: 'kept' } }, ConsistentRead: true });
  expect((await client.send(kept)).Item).toBeDefined();
});
