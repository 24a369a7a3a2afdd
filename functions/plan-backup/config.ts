import { readEnvironment } from '../runtime/read-environment.ts';

/** Throws with every variable that is missing. */
export const loadConfig = (environment: NodeJS.ProcessEnv) =>
  readEnvironment(environment, ['table', 'bucket', 'dataKey', 'otherKeys', 'heartbeatSeconds']);
export type Config = ReturnType<typeof loadConfig>;
