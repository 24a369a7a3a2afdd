import { GetCommand, PutCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { clusterConfigSchema } from '#core/cluster-config.ts';
import type { Clusters } from '#core/ports/clusters.ts';
import { tableLayout } from '#core/table-layout.ts';
import { allItems } from './all-items.ts';
import { CLUSTERS, configKey, LIST_INDEX, listedCluster } from './catalog-keys.ts';
import { askCatalog, type CatalogTable, readItem } from './catalog-table.ts';

const itemSchema = z.object({ config: clusterConfigSchema });

export const dynamodbClusters = (table: CatalogTable): Clusters => ({
  async get(cluster) {
    const { Item } = await askCatalog(
      table.client.send(new GetCommand({ TableName: table.name, Key: configKey(cluster), ConsistentRead: true })),
    );
    return Item && readItem(itemSchema, Item).config;
  },

  async put(config) {
    const Item = { ...configKey(config.cluster), ...listedCluster(config.cluster), config };
    await askCatalog(table.client.send(new PutCommand({ TableName: table.name, Item })));
  },

  async list() {
    const items = await allItems(table, {
      IndexName: LIST_INDEX,
      KeyConditionExpression: `${tableLayout.listIndex.partition} = :clusters`,
      ExpressionAttributeValues: { ':clusters': CLUSTERS },
    });
    return items.map((item) => readItem(itemSchema, item).config);
  },
});
