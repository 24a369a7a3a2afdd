import { GetCommand, TransactWriteCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { backupRecordSchema, chainHeadSchema, chainRecordSchema } from '#core/catalog-records.ts';
import type { ClusterId } from '#core/ids.ts';
import type { ChainAppend, ChainShredding, Chains } from '#core/ports/chains.ts';
import { allItems } from './all-items.ts';
import { backupKey, CHAIN_PREFIX, chainKey, configKey, headKey, leaseKey } from './catalog-keys.ts';
import { askCatalog, type CatalogTable, failedConditions, itemInTheWay, readItem } from './catalog-table.ts';

/** The place of the lease's condition in the transaction below. */
const LEASE_PLACE = 0;

const isStillHead = (expected: ChainAppend['expected']) =>
  expected
    ? {
        ConditionExpression: '#tip.#backup = :tip AND #tip.#manifestSha256 = :digest',
        ExpressionAttributeNames: { '#tip': 'tip', '#backup': 'backup', '#manifestSha256': 'manifestSha256' },
        ExpressionAttributeValues: { ':tip': expected.tip.backup, ':digest': expected.tip.manifestSha256 },
      }
    : { ConditionExpression: 'attribute_not_exists(pk)' };

const isStillLease = (lease: ChainShredding['lease']) =>
  lease
    ? {
        ConditionExpression: '#token = :token AND #held = :held',
        ExpressionAttributeNames: { '#token': 'token', '#held': 'held' },
        ExpressionAttributeValues: { ':token': lease.token, ':held': lease.held },
      }
    : { ConditionExpression: 'attribute_not_exists(pk)' };

export const dynamodbChains = (table: CatalogTable): Chains => {
  const { name, client } = table;
  const get = async <Schema extends z.ZodType>(schema: Schema, Key: { readonly pk: string; readonly sk: string }) => {
    const { Item } = await askCatalog(client.send(new GetCommand({ TableName: name, Key, ConsistentRead: true })));
    return Item && readItem(schema, Item);
  };
  const ofCluster = (cluster: ClusterId) =>
    allItems(table, {
      KeyConditionExpression: 'pk = :cluster AND begins_with(sk, :chains)',
      ExpressionAttributeValues: { ':cluster': configKey(cluster).pk, ':chains': CHAIN_PREFIX },
      ConsistentRead: true,
    });

  return {
    head: (cluster) => get(chainHeadSchema, headKey(cluster)),

    chain: (cluster, chain) => get(chainRecordSchema, chainKey(cluster, chain)),

    backup: (cluster, chain, seq) => get(backupRecordSchema, backupKey(cluster, chain, seq)),

    async all(cluster) {
      const items = await ofCluster(cluster);
      const isBackup = (item: Record<string, unknown>) => 'backup' in item;
      return {
        chains: items.filter((item) => !isBackup(item)).map((item) => readItem(chainRecordSchema, item)),
        backups: items.filter(isBackup).map((item) => readItem(backupRecordSchema, item)),
      };
    },

    async rewrap(cluster, chain, from, to) {
      try {
        await askCatalog(
          client.send(
            new UpdateCommand({
              TableName: name,
              Key: chainKey(cluster, chain),
              UpdateExpression: 'SET #keys = :to',
              ConditionExpression: '#keys = :from',
              ExpressionAttributeNames: { '#keys': 'keys' },
              ExpressionAttributeValues: { ':from': from, ':to': to },
            }),
          ),
        );
        return true;
      } catch (error) {
        itemInTheWay(error);
        return false;
      }
    },

    async shred({ cluster, chain, shredded, lease }) {
      const head = await get(chainHeadSchema, headKey(cluster));
      try {
        await askCatalog(
          client.send(
            new TransactWriteCommand({
              TransactItems: [
                // The token grows with every acquisition: as long as it is this one, no run has begun since the lease was read.
                { ConditionCheck: { TableName: name, Key: leaseKey(cluster), ...isStillLease(lease) } },
                {
                  Update: {
                    TableName: name,
                    Key: chainKey(cluster, chain),
                    UpdateExpression: 'SET #keys = :gone',
                    ConditionExpression: 'attribute_exists(pk)',
                    ExpressionAttributeNames: { '#keys': 'keys' },
                    ExpressionAttributeValues: { ':gone': { shredded } },
                  },
                },
                ...(head?.chain === chain
                  ? [
                      {
                        Update: {
                          TableName: name,
                          Key: headKey(cluster),
                          UpdateExpression: 'SET #shredded = :shredded',
                          ConditionExpression: '#chain = :chain',
                          ExpressionAttributeNames: { '#shredded': 'shredded', '#chain': 'chain' },
                          ExpressionAttributeValues: { ':shredded': shredded, ':chain': chain },
                        },
                      },
                    ]
                  : []),
              ],
            }),
          ),
        );
        return true;
      } catch (error) {
        failedConditions(error);
        return false;
      }
    },

    async append({ cluster, expected, head, record, opens, lease }) {
      const unlessThere = { TableName: name, ConditionExpression: 'attribute_not_exists(pk)' };
      try {
        await askCatalog(
          client.send(
            new TransactWriteCommand({
              TransactItems: [
                {
                  // INV-6: whoever lost the lease cannot commit, however late the write arrives.
                  ConditionCheck: {
                    TableName: name,
                    Key: leaseKey(cluster),
                    ConditionExpression: '#token = :token AND #run = :run AND #held = :true',
                    ExpressionAttributeNames: { '#token': 'token', '#run': 'run', '#held': 'held' },
                    ExpressionAttributeValues: { ':token': lease.token, ':run': lease.run, ':true': true },
                  },
                },
                {
                  Put: {
                    TableName: name,
                    Item: { ...headKey(cluster), ...z.encode(chainHeadSchema, head) },
                    ...isStillHead(expected),
                  },
                },
                {
                  Put: {
                    ...unlessThere,
                    Item: {
                      ...backupKey(cluster, record.chain, record.seq),
                      ...z.encode(backupRecordSchema, record),
                    },
                  },
                },
                ...(opens
                  ? [
                      {
                        Put: {
                          ...unlessThere,
                          Item: { ...chainKey(cluster, opens.chain), ...z.encode(chainRecordSchema, opens) },
                        },
                      },
                    ]
                  : []),
              ],
            }),
          ),
        );
        return 'appended';
      } catch (error) {
        return failedConditions(error).has(LEASE_PLACE) ? 'lease-lost' : 'conflict';
      }
    },
  };
};
