import type { ErrorCode } from '#core/errors.ts';
import type { ProcessExit } from '../io/run-process.ts';
import type { EngineOperation, Verdict } from './engine.ts';
import type { EngineLog } from './engine-log.ts';
import type { LogFinding } from './log-lines.ts';

const SHOWN = 5;

const refused = (code: ErrorCode, detail: string): Verdict => ({ kind: 'refused', code, detail });

const best = (findings: readonly LogFinding[]): LogFinding | undefined =>
  findings.reduce<LogFinding | undefined>(
    (found, next) => (found && found.rank <= next.rank ? found : next),
    undefined,
  );

const endOf = (exit: ProcessExit): string =>
  exit.signal === undefined ? `exit code ${exit.code}` : `ended by ${exit.signal}`;

/**
 * What to think of an engine that ended. Exit code 0 and the closing line are both needed, and neither is believed against a line
 * that means loss (test/fixtures/xtrabackup-2.4.7). A failure is named by the best known line, or by its last lines.
 */
export const judge = (operation: EngineOperation, exit: ProcessExit, log: EngineLog): Verdict => {
  const unnamed: ErrorCode = operation === 'backup' ? 'EngineFailed' : 'PrepareFailed';
  if (exit.code !== 0) {
    // The shell of the lifeline found no program, or nothing it may start.
    if (exit.code === 127 || exit.code === 126) return refused('EngineMissing', log.lastLine);
    const cause = best(log.findings(operation));
    // "Incomplete" is for what the engine calls complete.
    const code = cause?.code === 'PrepareIncomplete' ? unnamed : cause?.code;
    if (cause && code) return refused(code, `${cause.line.trim()} (${endOf(exit)})`);
    return refused(unnamed, [`${endOf(exit)}, last lines:`, ...log.lastLines(SHOWN)].join('\n'));
  }
  const loss = best(log.findings(operation).filter(({ despiteSuccess }) => despiteSuccess));
  if (loss) return refused(loss.code, loss.line.trim());
  if (!log.lastLine.includes('completed OK!'))
    return refused(unnamed, ['exit code 0 without "completed OK!", last lines:', ...log.lastLines(SHOWN)].join('\n'));
  return { kind: 'ok' };
};
