import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';
import { METRIC_NAMESPACE, metricNames } from '#core/metric-names.ts';
import { catalogTable } from '../adapters/catalog-table.ts';
import { dynamodbChains } from '../adapters/dynamodb-chains.ts';
import { dynamodbClusters } from '../adapters/dynamodb-clusters.ts';
import { createEdge } from '../runtime/create-edge.ts';
import { type Edge, lambdaEdge } from '../runtime/lambda-edge.ts';
import { powertoolsLog } from '../runtime/powertools-log.ts';
import { systemClock } from '../runtime/system-clock.ts';
import { type Config, loadConfig } from './config.ts';
import {
  type BackupAge,
  type ReportStaleClustersDeps,
  reportStaleClusters,
  reportStaleClustersInputSchema,
} from './report-stale-clusters.ts';

interface Deps extends ReportStaleClustersDeps {
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
    chains: dynamodbChains(table),
  };
};

const measure = (metrics: Metrics, ages: readonly BackupAge[]): void => {
  for (const { cluster, seconds } of ages) {
    metrics.addDimensions({ cluster });
    metrics.addMetric(metricNames.backupAge, MetricUnit.Seconds, seconds);
    metrics.publishStoredMetrics();
  }
  // Also where it is 0: the alarm goes off where nothing is published.
  metrics.addMetric(metricNames.staleClusters, MetricUnit.Count, ages.filter(({ isStale }) => isStale).length);
  metrics.publishStoredMetrics();
};

export const createHandler = (deps: Deps) =>
  lambdaEdge(deps.edge, reportStaleClustersInputSchema, async () => {
    const ages = await reportStaleClusters(deps);
    measure(deps.metrics, ages);
    return ages;
  });

export const handler = createHandler(createDeps(loadConfig(process.env)));
