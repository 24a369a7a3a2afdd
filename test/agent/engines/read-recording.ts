import { readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { EngineOperation } from '#agent/engines/engine.ts';
import { EngineLog } from '#agent/engines/engine-log.ts';
import type { ProcessExit } from '#agent/io/run-process.ts';

export interface Recording {
  readonly operation: EngineOperation;
  readonly exit: ProcessExit;
  readonly log: EngineLog;
}

const fixtures = (program: string): string => fileURLToPath(new URL(`../../fixtures/${program}/`, import.meta.url));

/** Names of the recorded runs of a program, without `.txt`. */
export const recordings = (program: string): readonly string[] =>
  readdirSync(fixtures(program))
    .filter((name) => name.endsWith('.txt'))
    .map((name) => name.slice(0, -4))
    .sort();

/** A recorded run: its command on the first line, its exit code, and its standard error. */
export const readRecording = (program: string, name: string): Recording => {
  const text = readFileSync(`${fixtures(program)}${name}.txt`, 'utf8');
  const code = Number(/^# exit code: (\d+)$/m.exec(text)?.[1]);
  const signal = (Object.keys(constants.signals) as NodeJS.Signals[]).find(
    (key) => constants.signals[key] === code - 128,
  );
  const stderr = text.slice(text.indexOf('\n', text.indexOf('##### stderr')) + 1).replace(/##### end\n?$/, '');
  const log = new EngineLog();
  for (const line of stderr.split('\n')) log.append(line);
  return {
    operation: /--prepare\b/.test(text.split('\n', 1)[0] ?? '') ? 'prepare' : 'backup',
    exit: signal ? { code: undefined, signal } : { code, signal: undefined },
    log,
  };
};
