import { catalogTable } from '../adapters/catalog-table.ts';
import { dynamodbChains } from '../adapters/dynamodb-chains.ts';
import { dynamodbClusters } from '../adapters/dynamodb-clusters.ts';
import { dynamodbLeases } from '../adapters/dynamodb-leases.ts';
import { dynamodbRuns } from '../adapters/dynamodb-runs.ts';
import { kmsKeys } from '../adapters/kms-keys.ts';
import { s3Repository } from '../adapters/s3-repository.ts';
import { ssmCommands } from '../adapters/ssm-commands.ts';
import { stepFunctionsExecutions } from '../adapters/step-functions-executions.ts';
import { createEdge } from '../runtime/create-edge.ts';
import { type Edge, lambdaEdge } from '../runtime/lambda-edge.ts';
import { powertoolsLog } from '../runtime/powertools-log.ts';
import { systemClock } from '../runtime/system-clock.ts';
import { systemRandom } from '../runtime/system-random.ts';
import { type Config, loadConfig } from './config.ts';
import { type PlanBackupDeps, planBackup, planBackupInputSchema } from './plan-backup.ts';

interface Deps extends PlanBackupDeps {
  readonly edge: Edge;
}

const createDeps = (config: Config): Deps => {
  const edge = createEdge();
  const table = catalogTable(config.table);
  return {
    edge,
    log: powertoolsLog(edge.logger),
    clock: systemClock,
    random: systemRandom,
    clusters: dynamodbClusters(table),
    leases: dynamodbLeases(table),
    chains: dynamodbChains(table),
    runs: dynamodbRuns(table),
    keys: kmsKeys(config.dataKey),
    repository: s3Repository(config.bucket),
    commands: ssmCommands(),
    executions: stepFunctionsExecutions(),
    otherKeys: config.otherKeys,
    heartbeatSeconds: config.heartbeatSeconds,
  };
};

export const createHandler = (deps: Deps) =>
  lambdaEdge(deps.edge, planBackupInputSchema, (input) => planBackup(deps, input));

export const handler = createHandler(createDeps(loadConfig(process.env)));
