import { catalogTable } from '../adapters/catalog-table.ts';
import { dynamodbChains } from '../adapters/dynamodb-chains.ts';
import { dynamodbRuns } from '../adapters/dynamodb-runs.ts';
import { s3Repository } from '../adapters/s3-repository.ts';
import { createEdge } from '../runtime/create-edge.ts';
import { type Edge, lambdaEdge } from '../runtime/lambda-edge.ts';
import { powertoolsLog } from '../runtime/powertools-log.ts';
import { type Config, loadConfig } from './config.ts';
import { type RecordBackupDeps, recordBackup, recordBackupInputSchema } from './record-backup.ts';

interface Deps extends RecordBackupDeps {
  readonly edge: Edge;
}

const createDeps = (config: Config): Deps => {
  const edge = createEdge();
  const table = catalogTable(config.table);
  return {
    edge,
    log: powertoolsLog(edge.logger),
    runs: dynamodbRuns(table),
    chains: dynamodbChains(table),
    repository: s3Repository(config.bucket),
  };
};

export const createHandler = (deps: Deps) =>
  lambdaEdge(deps.edge, recordBackupInputSchema, (input) => recordBackup(deps, input));

export const handler = createHandler(createDeps(loadConfig(process.env)));
