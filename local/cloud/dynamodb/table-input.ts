import { isJsonObject, type Json, type JsonObject } from '../json.ts';

const pick = (object: JsonObject, names: readonly string[]): JsonObject =>
  Object.fromEntries(names.flatMap((name) => (object[name] === undefined ? [] : [[name, object[name]]])));

const objects = (value: Json | undefined): readonly JsonObject[] =>
  Array.isArray(value) ? (value as readonly Json[]).filter(isJsonObject) : [];

/**
 * The CreateTable request for the resolved properties of an `AWS::DynamoDB::Table` or `GlobalTable`: keys, attributes and
 * indexes, deletion protection, streams. Always on demand: the simulator does not limit throughput. What it has no
 * counterpart for is left out: point-in-time recovery, encryption at rest, tags, replicas.
 */
export const tableInput = (name: string, properties: JsonObject): JsonObject => {
  const stream = properties.StreamSpecification;
  // A global table says it for each replica; the local one stands for all of them.
  const replicas = objects(properties.Replicas);
  const isProtected = [properties, ...replicas].some(
    ({ DeletionProtectionEnabled }) => DeletionProtectionEnabled === true,
  );
  const indexes = (property: string) =>
    objects(properties[property]).map((index) => pick(index, ['IndexName', 'KeySchema', 'Projection']));
  const globalIndexes = indexes('GlobalSecondaryIndexes');
  const localIndexes = indexes('LocalSecondaryIndexes');
  return {
    TableName: name,
    BillingMode: 'PAY_PER_REQUEST',
    ...pick(properties, ['AttributeDefinitions', 'KeySchema']),
    ...(globalIndexes.length === 0 ? {} : { GlobalSecondaryIndexes: globalIndexes }),
    ...(localIndexes.length === 0 ? {} : { LocalSecondaryIndexes: localIndexes }),
    ...(stream !== undefined && isJsonObject(stream)
      ? { StreamSpecification: { StreamEnabled: true, ...pick(stream, ['StreamViewType']) } }
      : {}),
    ...(isProtected ? { DeletionProtectionEnabled: true } : {}),
  };
};
