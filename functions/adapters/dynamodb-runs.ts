import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { GetCommand, PutCommand, QueryCommand, TransactWriteCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import {
  commandRecordSchema,
  isPlanned,
  plannedRunSchema,
  runRecordSchema,
  unplannedRunSchema,
} from '#core/catalog-records.ts';
import type { RunId } from '#core/ids.ts';
import type { RunChanges, Runs, TransitionOutcome } from '#core/ports/runs.ts';
import { type RunTransition, runTransitions } from '#core/run-transitions.ts';
import { tableLayout } from '#core/table-layout.ts';
import { allItems } from './all-items.ts';
import { commandKey, LIST_INDEX, listedRun, runKey, runsOf } from './catalog-keys.ts';
import { askCatalog, type CatalogTable, failedConditions, itemInTheWay, readItem } from './catalog-table.ts';

/** A command's item is of no use once its run has ended; DynamoDB removes it after this. */
const COMMAND_DAYS = 30;

const IS_OF_CLUSTER = `${tableLayout.listIndex.partition} = :cluster`;

/** The legal predecessors of a transition, as the condition of the write that makes it. */
const mayStart = (transition: RunTransition) => {
  const { from } = runTransitions[transition];
  return {
    condition: `#state IN (${from.map((_, index) => `:from${index}`).join(', ')})`,
    values: Object.fromEntries(from.map((state, index) => [`:from${index}`, state])),
  };
};

export const dynamodbRuns = (table: CatalogTable): Runs => {
  const { name, client } = table;
  const get = async (run: RunId) => {
    const { Item } = await askCatalog(
      client.send(new GetCommand({ TableName: name, Key: runKey(run), ConsistentRead: true })),
    );
    return Item && readItem(runRecordSchema, Item);
  };

  const refusal = (error: unknown): TransitionOutcome => {
    const item = itemInTheWay(error);
    return item ? { kind: 'refused', run: readItem(runRecordSchema, item) } : { kind: 'unknown' };
  };

  const update = async (run: RunId, changes: Readonly<Record<string, unknown>>, transition?: RunTransition) => {
    const all = { ...changes, ...(transition && { state: runTransitions[transition].to }) };
    const given = Object.entries(all).filter(([, value]) => value !== undefined);
    const start = transition ? mayStart(transition) : { condition: 'attribute_exists(pk)', values: {} };
    const { Attributes } = await askCatalog(
      client.send(
        new UpdateCommand({
          TableName: name,
          Key: runKey(run),
          UpdateExpression: `SET ${given.map(([key]) => `#${key} = :${key}`).join(', ')}`,
          ConditionExpression: start.condition,
          ExpressionAttributeNames: Object.fromEntries(given.map(([key]) => [`#${key}`, key])),
          ExpressionAttributeValues: {
            ...Object.fromEntries(given.map(([key, value]) => [`:${key}`, value])),
            ...start.values,
          },
          ReturnValues: 'ALL_NEW',
          ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
        }),
      ),
    );
    return readItem(plannedRunSchema, Attributes ?? {});
  };

  return {
    async plan(record) {
      const start = mayStart('replan');
      try {
        await askCatalog(
          client.send(
            new PutCommand({
              TableName: name,
              Item: {
                ...runKey(record.run),
                ...listedRun(record.cluster, record.startedAt, record.run),
                ...z.encode(plannedRunSchema, record),
              },
              ConditionExpression: `attribute_not_exists(pk) OR (#execution = :execution AND ${start.condition})`,
              ExpressionAttributeNames: { '#state': 'state', '#execution': 'execution' },
              ExpressionAttributeValues: { ...start.values, ':execution': record.execution },
              ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
            }),
          ),
        );
        return { kind: 'done', run: record };
      } catch (error) {
        return refusal(error);
      }
    },

    async recordUnplanned(record) {
      try {
        await askCatalog(
          client.send(
            new PutCommand({
              TableName: name,
              Item: {
                ...runKey(record.run),
                ...listedRun(record.cluster, record.startedAt, record.run),
                ...z.encode(unplannedRunSchema, record),
              },
              ConditionExpression: 'attribute_not_exists(pk)',
              ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
            }),
          ),
        );
        return undefined;
      } catch (error) {
        const item = itemInTheWay(error);
        return item && readItem(runRecordSchema, item);
      }
    },

    async transition(run, transition, changes: RunChanges = {}) {
      try {
        return { kind: 'done', run: await update(run, changes, transition) };
      } catch (error) {
        return refusal(error);
      }
    },

    async setGrants(run, grants) {
      try {
        await update(run, { grants, lent: null });
      } catch (error) {
        if (!(error instanceof ConditionalCheckFailedException)) throw error;
      }
    },

    get,

    async list(cluster, limit) {
      const { Items } = await askCatalog(
        client.send(
          new QueryCommand({
            TableName: name,
            IndexName: LIST_INDEX,
            KeyConditionExpression: IS_OF_CLUSTER,
            ExpressionAttributeValues: { ':cluster': runsOf(cluster) },
            ScanIndexForward: false,
            Limit: limit,
          }),
        ),
      );
      return (Items ?? []).map((item) => readItem(runRecordSchema, item));
    },

    async all(cluster) {
      const items = await allItems(table, {
        IndexName: LIST_INDEX,
        KeyConditionExpression: IS_OF_CLUSTER,
        ExpressionAttributeValues: { ':cluster': runsOf(cluster) },
        ScanIndexForward: false,
      });
      return items.map((item) => readItem(runRecordSchema, item)).filter(isPlanned);
    },

    async linkCommand(record) {
      const { condition, values } = mayStart('ask');
      try {
        await askCatalog(
          client.send(
            new TransactWriteCommand({
              TransactItems: [
                {
                  Update: {
                    TableName: name,
                    Key: runKey(record.run),
                    UpdateExpression: 'SET #command = :command',
                    ConditionExpression: condition,
                    ExpressionAttributeNames: { '#command': 'command', '#state': 'state' },
                    ExpressionAttributeValues: { ':command': record.command, ...values },
                  },
                },
                {
                  Put: {
                    TableName: name,
                    Item: {
                      ...commandKey(record.command),
                      ...z.encode(commandRecordSchema, record),
                      [tableLayout.expiry]: Math.floor(Date.parse(record.sentAt) / 1000) + COMMAND_DAYS * 24 * 60 * 60,
                    },
                  },
                },
              ],
            }),
          ),
        );
      } catch (error) {
        failedConditions(error);
        const run = await get(record.run);
        return run ? { kind: 'refused', run } : { kind: 'unknown' };
      }
      const run = await get(record.run);
      return run && isPlanned(run) ? { kind: 'done', run } : { kind: 'unknown' };
    },

    async commandOf(command) {
      const { Item } = await askCatalog(
        client.send(new GetCommand({ TableName: name, Key: commandKey(command), ConsistentRead: true })),
      );
      return Item && readItem(commandRecordSchema, Item);
    },
  };
};
