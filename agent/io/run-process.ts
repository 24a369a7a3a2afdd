import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { Readable } from 'node:stream';
import { RedoubtError } from '#core/errors.ts';
import type { EngineCommand } from '../engines/engine.ts';
import type { SecretDirectory } from './secret-directory.ts';

/** One of the two is set. */
export interface ProcessExit {
  readonly code: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
}

export interface RunOptions {
  /** Needed where the command has an option file. */
  readonly secretDirectory?: SecretDirectory;
  /** Ends the process as `kill` does. */
  readonly signal?: AbortSignal;
  /** Each line of standard error, without its line end; `\r` ends a line too, as progress is printed with it. */
  readonly onStderrLine: (line: string) => void;
  /** A socket: the process gets it, and `stdout` of the running process has ended already. */
  readonly stdout: 'pipe' | 'ignore' | Socket;
  readonly cwd?: string;
  /** Between SIGTERM and SIGKILL, in milliseconds. */
  readonly graceMs?: number;
}

export interface RunningProcess {
  /** Must be read: a full pipe stops the process. Already ended where standard output is ignored. */
  readonly stdout: Readable;
  /** Settles once the process has ended and all its standard error was handed over; never rejects but where it cannot start. */
  readonly exited: Promise<ProcessExit>;
  /** SIGTERM to the process and all it started; SIGKILL after the grace. */
  kill(): void;
}

const GRACE_MS = 10_000;
const LONGEST_LINE = 64 * 1024;

/**
 * Starts "$@" with a lifeline. fd 3 is a pipe whose other end only the agent holds: when the agent ends in whatever way, SIGKILL
 * included, the reader sees the end of it and kills the whole process group. The traps make the shell outlive a SIGTERM to the
 * group, so that its exit is the child's exit and never comes before it; the child itself starts with the default actions. A signal
 * that came before the child did is passed on. No core file is written: it would hold every key.
 * Where the kernel hands cores to a program it looks at no limit, and not every such program does (core(5)): the filter leaves all memory out.
 */
const LIFELINE = `
umask 077
ulimit -c 0
{ echo 0 >/proc/self/coredump_filter; } 2>/dev/null
early=
trap early=1 HUP INT TERM
"$@" 3<&- &
child=$!
{ trap '' HUP INT TERM; read -r _; kill -KILL -$$; } <&3 >/dev/null 2>&1 &
watch=$!
exec 3<&-
[ -n "$early" ] && kill -TERM "$child"
while :; do
  wait "$child"; status=$?
  kill -0 "$child" 2>/dev/null || break
done
kill -KILL "$watch" 2>/dev/null
exit "$status"
`;

/** Only what a program needs to be found and to run: no credential of the agent's own environment gets through. */
const environment = (command: EngineCommand): Record<string, string> => ({
  PATH: process.env.PATH ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  ...(process.env.LD_LIBRARY_PATH === undefined ? {} : { LD_LIBRARY_PATH: process.env.LD_LIBRARY_PATH }),
  // No ~/.my.cnf and no ~/.mylogin.cnf: these programs read them besides the option file they are given.
  HOME: '/nonexistent',
  // Messages are screened in English.
  LC_ALL: 'C',
  TZ: 'UTC',
  ...command.env,
});

const signalOf = (code: number): NodeJS.Signals | undefined =>
  (Object.keys(constants.signals) as NodeJS.Signals[]).find((name) => constants.signals[name] === code - 128);

const readLines = (stream: Readable, onLine: (line: string) => void): void => {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const lines = (rest + text).split(/[\r\n]/);
    rest = lines.pop() ?? '';
    // Progress bars may come without a line end; nothing grows without bound.
    if (rest.length > LONGEST_LINE) {
      lines.push(rest);
      rest = '';
    }
    for (const line of lines) onLine(line);
  });
  stream.on('end', () => {
    if (rest !== '') onLine(rest);
  });
};

const exitOf = (child: ChildProcess, program: string, cleanUp: () => void): Promise<ProcessExit> =>
  new Promise((resolve, reject) => {
    child.on('error', (error) => {
      cleanUp();
      reject(new RedoubtError('EngineMissing', `${program} cannot be started: ${error.message}`, { cause: error }));
    });
    child.on('close', (code, signal) => {
      cleanUp();
      const killed = code !== null && code > 128 ? signalOf(code) : undefined;
      if (signal !== null) resolve({ code: undefined, signal });
      else if (killed) resolve({ code: undefined, signal: killed });
      else resolve({ code: code ?? undefined, signal: undefined });
    });
  });

/**
 * Starts an engine in a process group of its own that cannot outlive the agent, with umask 077, English messages and none of the
 * agent's environment. The option file exists for as long as the process runs.
 */
export const runProcess = (command: EngineCommand, options: RunOptions): RunningProcess => {
  const { secretDirectory } = options;
  if (command.optionFile !== undefined && secretDirectory === undefined)
    throw new TypeError('a command with an option file needs a secret directory');
  const optionFile =
    command.optionFile === undefined ? undefined : (secretDirectory as SecretDirectory).write(command.optionFile);
  const args = [...(optionFile === undefined ? [] : [`--defaults-file=${optionFile}`]), ...command.args];
  const child = spawn('/bin/sh', ['-c', LIFELINE, 'redoubt-lifeline', command.program, ...args], {
    stdio: ['ignore', options.stdout, 'pipe', 'pipe'],
    detached: true,
    env: environment(command),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });

  let forced: NodeJS.Timeout | undefined;
  let closed = false;
  const signalGroup = (signal: NodeJS.Signals) => {
    if (child.pid === undefined || closed) return;
    try {
      process.kill(-child.pid, signal);
    } catch {
      // It ended in the meantime.
    }
  };
  const kill = () => {
    if (forced) return;
    signalGroup('SIGTERM');
    forced = setTimeout(() => signalGroup('SIGKILL'), options.graceMs ?? GRACE_MS);
  };

  const exited = exitOf(child, command.program, () => {
    closed = true;
    clearTimeout(forced);
    options.signal?.removeEventListener('abort', kill);
    if (optionFile !== undefined) secretDirectory?.remove(optionFile);
    (child.stdio[3] as Readable | null)?.destroy();
  });
  readLines(child.stderr as Readable, options.onStderrLine);
  child.stdio[3]?.on('error', () => {});
  if (options.signal?.aborted) kill();
  else options.signal?.addEventListener('abort', kill, { once: true });
  return { stdout: child.stdout ?? Readable.from([]), exited, kill };
};
