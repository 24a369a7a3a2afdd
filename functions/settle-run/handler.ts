import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';
import { METRIC_NAMESPACE, metricNames } from '#core/metric-names.ts';
import { catalogTable } from '../adapters/catalog-table.ts';
import { dynamodbChains } from '../adapters/dynamodb-chains.ts';
import { dynamodbClusters } from '../adapters/dynamodb-clusters.ts';
import { dynamodbLeases } from '../adapters/dynamodb-leases.ts';
import { dynamodbRuns } from '../adapters/dynamodb-runs.ts';
import { kmsKeys } from '../adapters/kms-keys.ts';
import { s3Repository } from '../adapters/s3-repository.ts';
import { ssmCommands } from '../adapters/ssm-commands.ts';
import { createEdge } from '../runtime/create-edge.ts';
import { type Edge, lambdaEdge } from '../runtime/lambda-edge.ts';
import { powertoolsLog } from '../runtime/powertools-log.ts';
import { systemClock } from '../runtime/system-clock.ts';
import { type Config, loadConfig } from './config.ts';
import { settleInputSchema } from './settle-request.ts';
import { type SettledRun, type SettleRunDeps, settleRun } from './settle-run.ts';

interface Deps extends SettleRunDeps {
  readonly edge: Edge;
  readonly metrics: Metrics;
}

const createDeps = (config: Config): Deps => {
  const edge = createEdge();
  const table = catalogTable(config.table);
  return {
    edge,
    metrics: new Metrics({ namespace: METRIC_NAMESPACE }),
    log: powertoolsLog(edge.logger),
    clock: systemClock,
    clusters: dynamodbClusters(table),
    runs: dynamodbRuns(table),
    leases: dynamodbLeases(table),
    chains: dynamodbChains(table),
    keys: kmsKeys(config.dataKey),
    repository: s3Repository(config.bucket),
    commands: ssmCommands(),
    backupStateMachine: config.backupStateMachine,
  };
};

const counterOf = ({ kind, state }: SettledRun) => {
  if (!kind) return undefined;
  if (state === 'succeeded') return `${kind}Succeeded` as const;
  if (state === 'failed') return `${kind}Failed` as const;
  if (state === 'refused') return `${kind}Refused` as const;
  return undefined;
};

/** Counts each run once, however often it is settled. Published here: the middleware would warn of every call that counts nothing. */
const measure = (metrics: Metrics, settled: SettledRun): void => {
  const counter = counterOf(settled);
  if (!settled.isFirst || !counter) return;
  // Two series: one for alarms, and one for each cluster.
  metrics.addDimensions({});
  if (settled.cluster) metrics.addDimensions({ cluster: settled.cluster });
  metrics.addMetric(metricNames[counter], MetricUnit.Count, 1);
  if (settled.storedBytes !== undefined)
    metrics.addMetric(metricNames.storedBytes, MetricUnit.Bytes, settled.storedBytes);
  metrics.publishStoredMetrics();
};

export const createHandler = (deps: Deps) =>
  lambdaEdge(deps.edge, settleInputSchema, async (request) => {
    if (!request) return undefined;
    const settled = await settleRun(deps, request);
    measure(deps.metrics, settled);
    return settled;
  });

export const handler = createHandler(createDeps(loadConfig(process.env)));
