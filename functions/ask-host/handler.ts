import { catalogTable } from '../adapters/catalog-table.ts';
import { dynamodbChains } from '../adapters/dynamodb-chains.ts';
import { dynamodbRuns } from '../adapters/dynamodb-runs.ts';
import { s3Repository } from '../adapters/s3-repository.ts';
import { ssmCommands } from '../adapters/ssm-commands.ts';
import { ssmHosts } from '../adapters/ssm-hosts.ts';
import { createEdge } from '../runtime/create-edge.ts';
import { type Edge, lambdaEdge } from '../runtime/lambda-edge.ts';
import { powertoolsLog } from '../runtime/powertools-log.ts';
import { systemClock } from '../runtime/system-clock.ts';
import { type AskHostDeps, askHost, askHostInputSchema } from './ask-host.ts';
import { type Config, loadConfig } from './config.ts';

interface Deps extends AskHostDeps {
  readonly edge: Edge;
}

const createDeps = (config: Config): Deps => {
  const edge = createEdge();
  const table = catalogTable(config.table);
  return {
    edge,
    log: powertoolsLog(edge.logger),
    clock: systemClock,
    chains: dynamodbChains(table),
    runs: dynamodbRuns(table),
    repository: s3Repository(config.bucket),
    hosts: ssmHosts({ document: config.runAgentDocument, bucket: config.bucket }),
    commands: ssmCommands(),
  };
};

export const createHandler = (deps: Deps) => lambdaEdge(deps.edge, askHostInputSchema, (input) => askHost(deps, input));

export const handler = createHandler(createDeps(loadConfig(process.env)));
