import { Logger } from '@aws-lambda-powertools/logger';
import { Metrics } from '@aws-lambda-powertools/metrics';
import { METRIC_NAMESPACE } from '#core/metric-names.ts';
import type { Edge } from './lambda-edge.ts';

/** Logger and metrics of one function; level and service name come from the `POWERTOOLS_*` variables. */
export const createEdge = (): Edge => ({ logger: new Logger(), metrics: new Metrics({ namespace: METRIC_NAMESPACE }) });
