import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerConfig } from '#core/cluster-config.ts';
import { RedoubtError } from '#core/errors.ts';
import { processesUsing } from './processes-using.ts';
import { type Launched, launchProgram, runProgram } from './run-program.ts';

const POLL_MS = 500;
/** After the stop command has ended; a clean shutdown is what that command waits for. */
const STOP_WAIT_MS = 60_000;
/** A start command may return before its server exists; a server that is not there for so long has ended. */
const GONE_POLLS = 20;

/** What the restored server must show, asked again until somebody answers. `undefined` while nobody does; throws to end it. */
export type Ask<T> = () => Promise<T | undefined>;

export type StartOutcome<T> =
  | { readonly kind: 'answered'; readonly answer: T }
  | { readonly kind: 'failed'; readonly why: string };

/** Whether a database server has files of `directory` open. */
export const serverRunsOn = async (directory: string): Promise<boolean> =>
  (await processesUsing(directory)).some((user) => user.isServer);

/**
 * Stops the server as the cluster file says and waits until none has files of `directory` open. Throws `TargetInUse` where one still has.
 */
export const stopServer = async (server: ServerConfig, directory: string): Promise<void> => {
  const { control } = server;
  let said = '';
  // systemd is asked in any case: it may be about to start the server again.
  if (control.kind === 'systemd') said = (await runProgram(['systemctl', 'stop', control.unit])).said;
  else if (await serverRunsOn(directory)) said = (await runProgram(control.stop)).said;
  for (let waited = 0; await serverRunsOn(directory); waited += POLL_MS) {
    if (waited >= STOP_WAIT_MS)
      throw new RedoubtError('TargetInUse', `the server on ${directory} does not stop${said && `: ${said}`}`);
    await sleep(POLL_MS);
  }
};

export interface StartRequest<T> {
  readonly server: ServerConfig;
  readonly directory: string;
  /** A file for what the start command says. */
  readonly output: string;
  readonly ask: Ask<T>;
  readonly waitMs: number;
  readonly signal: AbortSignal | undefined;
}

const RUNNING: Launched = { ended: () => ({ kind: 'exited', code: 0 }), giveUp: () => undefined };

/**
 * Starts the server, unless it runs already, and asks it until it answers, has ended, or time is up. Throws only what the signal says.
 */
export const startServer = async <T>(request: StartRequest<T>): Promise<StartOutcome<T>> => {
  const { control } = request.server;
  const argv = control.kind === 'systemd' ? ['systemctl', 'start', control.unit] : control.start;
  const launched =
    control.kind === 'command' && (await serverRunsOn(request.directory))
      ? RUNNING
      : await launchProgram(argv, request.output);
  let answered = false;
  try {
    const outcome = await awaitAnswer(request, launched);
    answered = outcome.kind === 'answered';
    return outcome;
  } finally {
    if (!answered) launched.giveUp();
  }
};

const awaitAnswer = async <T>(request: StartRequest<T>, launched: Launched): Promise<StartOutcome<T>> => {
  const { signal } = request;
  const failed = (why: string): StartOutcome<T> => ({ kind: 'failed', why });
  let gone = 0;
  for (let waited = 0; waited < request.waitMs; waited += POLL_MS) {
    await sleep(POLL_MS, undefined, signal === undefined ? {} : { signal }).catch(() => signal?.throwIfAborted());
    let answer: T | undefined;
    try {
      answer = await request.ask();
    } catch (error) {
      return failed(error instanceof RedoubtError ? `${error.code}: ${error.detail}` : String(error));
    }
    if (answer !== undefined) return { kind: 'answered', answer };
    const end = launched.ended();
    if (end?.kind === 'not-started') return failed(`its start command cannot be run: ${end.why}`);
    if (end !== undefined && end.code !== 0) return failed(`its start command ended with ${end.code ?? 'a signal'}`);
    gone = end === undefined || (await serverRunsOn(request.directory)) ? 0 : gone + 1;
    if (gone >= GONE_POLLS) return failed('it started and ended again');
  }
  return failed(`it did not answer within ${Math.round(request.waitMs / 1000)} s`);
};

const TAIL_CHARACTERS = 2000;

/**
 * The end of what the server said since it was last started: its error log (`logError` where that is known, else the `.err` files of the
 * directory), the start command's output, and systemd's journal.
 */
export const serverLogTail = async (
  server: ServerConfig,
  directory: string,
  logError: string | undefined,
  output: string,
): Promise<string> => {
  const beside = (await readdir(directory).catch(() => [])).filter((name) => name.endsWith('.err'));
  const files = [...(logError ? [join(directory, '.', logError)] : []), ...beside.map((name) => join(directory, name))];
  if (logError?.startsWith('/')) files[0] = logError;
  const parts: string[] = [];
  for (const file of new Set([...files, output])) {
    const found = await stat(file).catch(() => undefined);
    // An error log is appended to for years; a file of the data directory that large is none.
    if (!found?.isFile() || found.size === 0 || found.size > 256 * 1024 * 1024) continue;
    parts.push((await readFile(file, 'utf8')).slice(-TAIL_CHARACTERS));
  }
  if (parts.length === 0 && server.control.kind === 'systemd')
    parts.push((await runProgram(['journalctl', '--unit', server.control.unit, '--lines=20', '--output=cat'])).said);
  return parts.join('\n').trim().slice(-TAIL_CHARACTERS);
};
