import type { Progress } from '#core/agent-protocol.ts';
import type { CatalogAnswer } from '#core/catalog-queries.ts';
import { asRedoubtError, type ErrorCode, RedoubtError } from '#core/errors.ts';
import type { RunId } from '#core/ids.ts';
import type { CliContext } from './cli-context.ts';
import type { ControlPlane } from './control-plane.ts';
import { progressLine } from './show/progress-line.ts';

export interface Watched {
  readonly context: Pick<CliContext, 'terminal' | 'now' | 'sleep'>;
  readonly controlPlane: ControlPlane;
  readonly run: RunId;
  readonly execution: string;
  /** Shows nothing on the way. */
  readonly quiet: boolean;
}

const lookEveryMs = 1000;
/** Without a terminal a line is written when the phase changes, and this often. */
const lineEveryMs = 15_000;
/** Of the way to AWS, not of the run, which goes on without anybody watching. */
const passing: ReadonlySet<ErrorCode> = new Set([
  'ControlPlaneUnreachable',
  'ServiceUnavailable',
  'CatalogUnavailable',
]);
const patienceMs = 300_000;
/** Step Functions may not know an execution yet that it has just started. */
const unknownMs = 30_000;
/** The speed shown is the mean of about this long. */
const speedOverMs = 10_000;

/**
 * Follows a run until its execution has ended and answers the run as the catalog keeps it. Throws the run's own error where
 * it failed, and RunCancelled where somebody ended it. A network or a service that is away for less than five minutes ends nothing.
 */
export const watchRun = async ({
  context,
  controlPlane,
  run,
  execution,
  quiet,
}: Watched): Promise<CatalogAnswer<'run'>> => {
  const { terminal } = context;
  const looks: Progress[] = [];
  let lastLine = { phase: '', at: 0 };
  let seenAt = context.now().getTime();
  const look = async () => {
    try {
      // First the execution: what the catalog says after it has ended is final.
      const state = await controlPlane.execution(execution);
      if (state === undefined) throw new RedoubtError('UnknownRun', `there is no execution ${execution}`);
      const shown = await controlPlane.ask({ query: 'run', run }).catch((error: unknown) => {
        // An execution that has just started is not planned yet.
        if (error instanceof RedoubtError && error.code === 'UnknownRun') return undefined;
        throw error;
      });
      seenAt = context.now().getTime();
      return { state, shown };
    } catch (error) {
      const { code } = asRedoubtError(error);
      const patience = code === 'UnknownRun' ? unknownMs : passing.has(code) ? patienceMs : 0;
      if (context.now().getTime() - seenAt >= patience) throw error;
      return undefined;
    }
  };
  try {
    for (;;) {
      const seen = await look();
      if (seen === undefined) {
        await context.sleep(lookEveryMs);
        continue;
      }
      const { state, shown } = seen;
      if (state.status === 'failed' || state.status === 'aborted') throw state.failure;
      if (state.status === 'succeeded') {
        if (shown === undefined) throw new RedoubtError('UnknownRun', `${run} ended without a record in the catalog`);
        return shown;
      }
      if (!quiet) {
        const progress = shown?.progress;
        if (progress !== undefined) note(looks, progress);
        const { phase, line } = viewOf(shown, looks[0]);
        const now = context.now().getTime();
        if (terminal.isTty) terminal.status(line.slice(0, terminal.columns - 1));
        else if (phase !== lastLine.phase || now - lastLine.at >= lineEveryMs) {
          terminal.err(line);
          lastLine = { phase, at: now };
        }
      }
      await context.sleep(lookEveryMs);
    }
  } finally {
    if (!quiet && terminal.isTty) terminal.status('');
  }
};

/** What a run does now, in a word and in a line. */
const viewOf = (shown: CatalogAnswer<'run'> | undefined, earlier: Progress | undefined) => {
  const { run, progress } = shown ?? {};
  if (run === undefined) return { phase: 'planning', line: 'planning' };
  // The agent's own end is not the run's: what it answered is looked at and recorded.
  if (progress?.phase === 'ended') return { phase: 'recording', line: 'recording' };
  if (progress !== undefined) return { phase: progress.phase, line: progressLine(progress, earlier) };
  return run.state === 'asked' ? { phase: 'asked', line: `asking ${run.host}` } : { phase: run.state, line: run.state };
};

/** Keeps the looks at the present phase that the speed is measured over, oldest first. */
const note = (looks: Progress[], now: Progress): void => {
  const first = looks[0];
  if (first !== undefined && (first.phase !== now.phase || first.step !== now.step)) looks.length = 0;
  if (looks.at(-1)?.at !== now.at) looks.push(now);
  while (looks.length > 2 && Date.parse(now.at) - Date.parse(looks[0]?.at ?? now.at) > speedOverMs) looks.shift();
};
