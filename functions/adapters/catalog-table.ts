import {
  ConditionalCheckFailedException,
  DynamoDBClient,
  TransactionCanceledException,
} from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { unmarshall } from '@aws-sdk/util-dynamodb';
import { z } from 'zod';
import { RedoubtError } from '#core/errors.ts';

/** The catalog's one table. */
export interface CatalogTable {
  readonly name: string;
  readonly client: DynamoDBDocumentClient;
}

export const catalogTable = (name: string, client = new DynamoDBClient({})): CatalogTable => ({
  name,
  client: DynamoDBDocumentClient.from(client, { marshallOptions: { removeUndefinedValues: true } }),
});

/**
 * What the catalog answered. A condition that did not hold is an answer, and its exception passes; everything else becomes
 * `CatalogUnavailable`.
 */
export const askCatalog = async <Answer>(call: Promise<Answer>): Promise<Answer> => {
  try {
    return await call;
  } catch (error) {
    if (error instanceof ConditionalCheckFailedException || conditionsFailed(error)) throw error;
    const name = error instanceof Error ? error.name : 'an unknown error';
    throw new RedoubtError('CatalogUnavailable', `DynamoDB answered ${name}`, { cause: error });
  }
};

/** Only a transaction that was cancelled by its conditions: one that met another transaction may be tried again. */
const conditionsFailed = (error: unknown): error is TransactionCanceledException =>
  error instanceof TransactionCanceledException &&
  (error.CancellationReasons ?? []).some((reason) => reason.Code === 'ConditionalCheckFailed');

/** The places of a cancelled transaction whose condition did not hold; throws any other error on. */
export const failedConditions = (error: unknown): ReadonlySet<number> => {
  if (!conditionsFailed(error)) throw error;
  const reasons = error.CancellationReasons ?? [];
  return new Set(reasons.flatMap((reason, place) => (reason.Code === 'ConditionalCheckFailed' ? [place] : [])));
};

/** The item a condition failed on; `undefined` where there was none; throws any other error on. */
export const itemInTheWay = (error: unknown): Record<string, unknown> | undefined => {
  if (!(error instanceof ConditionalCheckFailedException)) throw error;
  return error.Item && unmarshall(error.Item);
};

/** An item as its schema reads it. One that cannot be read is a defect or somebody's edit: never worked around. */
export const readItem = <Schema extends z.ZodType>(schema: Schema, item: Record<string, unknown>): z.output<Schema> => {
  const parsed = schema.safeParse(item);
  if (parsed.success) return parsed.data;
  throw new RedoubtError(
    'Unexpected',
    `the catalog's item ${item.pk}/${item.sk} cannot be read: ${z.prettifyError(parsed.error)}`,
  );
};
