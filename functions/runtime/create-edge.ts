import { Logger } from '@aws-lambda-powertools/logger';
import type { Edge } from './lambda-edge.ts';

/** Level and service name of the logger come from the `POWERTOOLS_*` variables. */
export const createEdge = (): Edge => ({ logger: new Logger() });
