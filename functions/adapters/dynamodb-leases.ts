import { GetCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { leaseSchema } from '#core/catalog-records.ts';
import { RedoubtError } from '#core/errors.ts';
import type { Acquisition, LeaseRequest, Leases } from '#core/ports/leases.ts';
import { leaseKey } from './catalog-keys.ts';
import { askCatalog, type CatalogTable, itemInTheWay, readItem } from './catalog-table.ts';

const names = {
  '#token': 'token',
  '#run': 'run',
  '#execution': 'execution',
  '#held': 'held',
  '#acquiredAt': 'acquiredAt',
  '#expiresAt': 'expiresAt',
  '#cluster': 'cluster',
};

const iso = (time: number): string => new Date(time).toISOString();

export const dynamodbLeases = ({ name, client }: CatalogTable): Leases => {
  /** Takes the lease where `condition` holds. The token grows from whatever is stored: it is never set from what was read. */
  const take = async (
    request: LeaseRequest,
    condition: string,
    values: Readonly<Record<string, unknown>>,
  ): Promise<Acquisition> => {
    try {
      const { Attributes } = await askCatalog(
        client.send(
          new UpdateCommand({
            TableName: name,
            Key: leaseKey(request.cluster),
            UpdateExpression:
              'SET #token = if_not_exists(#token, :zero) + :one, #run = :run, #execution = :execution, #held = :true, #acquiredAt = :now, #expiresAt = :expiresAt, #cluster = :cluster',
            ConditionExpression: condition,
            ExpressionAttributeNames: names,
            ExpressionAttributeValues: {
              ':zero': 0,
              ':one': 1,
              ':run': request.run,
              ':execution': request.execution,
              ':true': true,
              ':now': iso(request.now.getTime()),
              ':expiresAt': iso(request.now.getTime() + request.seconds * 1000),
              ':cluster': request.cluster,
              ...values,
            },
            ReturnValues: 'ALL_NEW',
            ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
          }),
        ),
      );
      return { kind: 'acquired', lease: readItem(leaseSchema, Attributes ?? {}) };
    } catch (error) {
      const item = itemInTheWay(error);
      if (!item)
        throw new RedoubtError('CatalogUnavailable', `the lease of ${request.cluster} is gone`, { cause: error });
      return { kind: 'held', lease: readItem(leaseSchema, item) };
    }
  };

  return {
    acquire: (request) =>
      take(
        request,
        'attribute_not_exists(pk) OR #held = :false OR #expiresAt < :now OR (#run = :run AND #execution = :execution)',
        {
          ':false': false,
        },
      ),

    takeOver: (request, from) => take(request, '#token = :from', { ':from': from.token }),

    async release(cluster, token) {
      try {
        await askCatalog(
          client.send(
            new UpdateCommand({
              TableName: name,
              Key: leaseKey(cluster),
              UpdateExpression: 'SET #held = :false',
              ConditionExpression: '#token = :token',
              ExpressionAttributeNames: { '#held': 'held', '#token': 'token' },
              ExpressionAttributeValues: { ':false': false, ':token': token },
              ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
            }),
          ),
        );
        return true;
      } catch (error) {
        itemInTheWay(error);
        return false;
      }
    },

    async get(cluster) {
      const { Item } = await askCatalog(
        client.send(new GetCommand({ TableName: name, Key: leaseKey(cluster), ConsistentRead: true })),
      );
      return Item && readItem(leaseSchema, Item);
    },
  };
};
