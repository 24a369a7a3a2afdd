import { applyClusterRequestSchema } from '#core/catalog-queries.ts';
import { catalogTable } from '../adapters/catalog-table.ts';
import { dynamodbClusters } from '../adapters/dynamodb-clusters.ts';
import { eventbridgeSchedules } from '../adapters/eventbridge-schedules.ts';
import { createEdge } from '../runtime/create-edge.ts';
import { type Edge, lambdaEdge } from '../runtime/lambda-edge.ts';
import { powertoolsLog } from '../runtime/powertools-log.ts';
import { type ApplyClusterDeps, applyCluster } from './apply-cluster.ts';
import { type Config, loadConfig } from './config.ts';

interface Deps extends ApplyClusterDeps {
  readonly edge: Edge;
}

const createDeps = (config: Config): Deps => {
  const edge = createEdge();
  return {
    edge,
    log: powertoolsLog(edge.logger),
    clusters: dynamodbClusters(catalogTable(config.table)),
    schedules: eventbridgeSchedules({
      group: config.scheduleGroup,
      role: config.schedulerRole,
      stateMachine: config.backupStateMachine,
    }),
  };
};

export const createHandler = (deps: Deps) =>
  lambdaEdge(deps.edge, applyClusterRequestSchema, (request) => applyCluster(deps, request));

export const handler = createHandler(createDeps(loadConfig(process.env)));
