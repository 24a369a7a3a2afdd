import { readEnvironment } from '../runtime/read-environment.ts';

/** Throws with every variable that is missing. */
export const loadConfig = (environment: NodeJS.ProcessEnv) => readEnvironment(environment, ['table']);
export type Config = ReturnType<typeof loadConfig>;
