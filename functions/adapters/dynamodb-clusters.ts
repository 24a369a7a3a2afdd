import { GetCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { clusterConfigSchema } from '#core/cluster-config.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { Clusters } from '#core/ports/clusters.ts';
import { tableLayout } from '#core/table-layout.ts';
import { systemClock } from '../runtime/system-clock.ts';
import { allItems } from './all-items.ts';
import { CLUSTERS, configKey, LIST_INDEX, listedCluster } from './catalog-keys.ts';
import { askCatalog, type CatalogTable, readItem } from './catalog-table.ts';

const itemSchema = z.object({ config: clusterConfigSchema, firstAppliedAt: z.iso.datetime() });

export const dynamodbClusters = (table: CatalogTable, clock: Clock = systemClock): Clusters => {
  const applied = async () => {
    const items = await allItems(table, {
      IndexName: LIST_INDEX,
      KeyConditionExpression: `${tableLayout.listIndex.partition} = :clusters`,
      ExpressionAttributeValues: { ':clusters': CLUSTERS },
    });
    return items.map((item) => {
      const { config, firstAppliedAt } = readItem(itemSchema, item);
      return { config, firstAppliedAt: new Date(firstAppliedAt) };
    });
  };
  return {
    async get(cluster) {
      const { Item } = await askCatalog(
        table.client.send(new GetCommand({ TableName: table.name, Key: configKey(cluster), ConsistentRead: true })),
      );
      return Item && readItem(itemSchema, Item).config;
    },

    async put(config) {
      const { partition, sort } = tableLayout.listIndex;
      const listed = listedCluster(config.cluster);
      await askCatalog(
        table.client.send(
          new UpdateCommand({
            TableName: table.name,
            Key: configKey(config.cluster),
            UpdateExpression:
              'SET #config = :config, #partition = :partition, #sort = :sort, #first = if_not_exists(#first, :now)',
            ExpressionAttributeNames: {
              '#config': 'config',
              '#partition': partition,
              '#sort': sort,
              '#first': 'firstAppliedAt',
            },
            ExpressionAttributeValues: {
              ':config': config,
              ':partition': listed[partition],
              ':sort': listed[sort],
              ':now': clock.now().toISOString(),
            },
          }),
        ),
      );
    },

    list: async () => (await applied()).map(({ config }) => config),

    applied,
  };
};
