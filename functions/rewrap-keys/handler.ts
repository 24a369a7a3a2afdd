import { rewrapRequestSchema } from '#core/key-requests.ts';
import { catalogTable } from '../adapters/catalog-table.ts';
import { dynamodbChains } from '../adapters/dynamodb-chains.ts';
import { dynamodbClusters } from '../adapters/dynamodb-clusters.ts';
import { dynamodbLeases } from '../adapters/dynamodb-leases.ts';
import { kmsKeys } from '../adapters/kms-keys.ts';
import { s3Repository } from '../adapters/s3-repository.ts';
import { createEdge } from '../runtime/create-edge.ts';
import { type Edge, lambdaEdge } from '../runtime/lambda-edge.ts';
import { powertoolsLog } from '../runtime/powertools-log.ts';
import { type Config, loadConfig } from './config.ts';
import { type RewrapKeysDeps, rewrapKeys } from './rewrap-keys.ts';

interface Deps extends RewrapKeysDeps {
  readonly edge: Edge;
}

const createDeps = (config: Config): Deps => {
  const edge = createEdge();
  const table = catalogTable(config.table);
  return {
    edge,
    log: powertoolsLog(edge.logger),
    clusters: dynamodbClusters(table),
    leases: dynamodbLeases(table),
    chains: dynamodbChains(table),
    keys: kmsKeys(config.dataKey),
    repository: s3Repository(config.bucket),
    otherKeys: config.otherKeys,
  };
};

export const createHandler = (deps: Deps) =>
  lambdaEdge(deps.edge, rewrapRequestSchema, (request) => rewrapKeys(deps, request));

export const handler = createHandler(createDeps(loadConfig(process.env)));
