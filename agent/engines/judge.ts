import type { ProcessExit } from '../io/run-process.ts';
import type { EngineOperation, Verdict } from './engine.ts';
import type { EngineLog } from './engine-log.ts';

/** Completed below. */
export const judge = (_operation: EngineOperation, exit: ProcessExit, log: EngineLog): Verdict =>
  exit.code === 0 && log.lastLine.includes('completed OK!')
    ? { kind: 'ok' }
    : { kind: 'refused', code: 'EngineFailed', detail: log.lastLines(5).join('\n') };
