// Fetches DynamoDB Local into .cache/, for the local cloud and the tests. Does nothing when it is there.
import { fetchDynamoDbLocal } from '#local/cloud/dynamodb/fetch-dynamodb-local.ts';

console.log(await fetchDynamoDbLocal());
