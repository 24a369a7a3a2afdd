import { catalogQuerySchema } from '#core/catalog-queries.ts';
import { catalogTable } from '../adapters/catalog-table.ts';
import { dynamodbChains } from '../adapters/dynamodb-chains.ts';
import { dynamodbClusters } from '../adapters/dynamodb-clusters.ts';
import { dynamodbLeases } from '../adapters/dynamodb-leases.ts';
import { dynamodbRuns } from '../adapters/dynamodb-runs.ts';
import { s3Repository } from '../adapters/s3-repository.ts';
import { createEdge } from '../runtime/create-edge.ts';
import { type Edge, lambdaEdge } from '../runtime/lambda-edge.ts';
import { type Config, loadConfig } from './config.ts';
import { type QueryCatalogDeps, queryCatalog } from './query-catalog.ts';

interface Deps extends QueryCatalogDeps {
  readonly edge: Edge;
}

const createDeps = (config: Config): Deps => {
  const table = catalogTable(config.table);
  return {
    edge: createEdge(),
    clusters: dynamodbClusters(table),
    leases: dynamodbLeases(table),
    chains: dynamodbChains(table),
    runs: dynamodbRuns(table),
    repository: s3Repository(config.bucket),
  };
};

export const createHandler = (deps: Deps) =>
  lambdaEdge(deps.edge, catalogQuerySchema, (query) => queryCatalog(deps, query));

export const handler = createHandler(createDeps(loadConfig(process.env)));
