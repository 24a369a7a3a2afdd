import { catalogTable } from '../adapters/catalog-table.ts';
import { dynamodbRuns } from '../adapters/dynamodb-runs.ts';
import { ssmCommands } from '../adapters/ssm-commands.ts';
import { stepFunctionsExecutions } from '../adapters/step-functions-executions.ts';
import { createEdge } from '../runtime/create-edge.ts';
import { type Edge, lambdaEdge } from '../runtime/lambda-edge.ts';
import { powertoolsLog } from '../runtime/powertools-log.ts';
import { systemClock } from '../runtime/system-clock.ts';
import { type Config, loadConfig } from './config.ts';
import { commandEndedEventSchema, type ReportCommandEndDeps, reportCommandEnd } from './report-command-end.ts';

interface Deps extends ReportCommandEndDeps {
  readonly edge: Edge;
}

const createDeps = (config: Config): Deps => {
  const edge = createEdge();
  return {
    edge,
    log: powertoolsLog(edge.logger),
    clock: systemClock,
    runs: dynamodbRuns(catalogTable(config.table)),
    commands: ssmCommands(),
    executions: stepFunctionsExecutions(),
  };
};

export const createHandler = (deps: Deps) =>
  lambdaEdge(deps.edge, commandEndedEventSchema, (event) => reportCommandEnd(deps, event));

export const handler = createHandler(createDeps(loadConfig(process.env)));
