import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { engineHome, isStandIn, type Program, programPath } from './engine-home.ts';
import { unrecordedLines } from './recorded-lines.ts';

export interface Ran {
  /** 128 and the signal's number where one ended it. */
  readonly code: number;
  readonly stdout: Buffer;
  /** All of standard error. */
  readonly log: string;
}

export interface RunOptions {
  /** A file for standard output; otherwise it is collected. */
  readonly into?: string;
  /** A file, or bytes, for standard input. */
  readonly from?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Runs as this user and group; needs root. */
  readonly as?: { readonly uid: number; readonly gid: number };
  /** Called once, when standard error first matches. */
  readonly on?: { readonly line: RegExp; readonly act: (child: ChildProcess) => Promise<void> | void };
}

const SIGNALS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15, SIGSEGV: 11 };

/** Runs a program of the installation to its end. Throws where the stand-in for 2.4.7 says what the real one was never heard to say. */
export const runProgram = async (program: Program, args: readonly string[], options: RunOptions = {}): Promise<Ran> => {
  const input = typeof options.from === 'string' ? openSync(options.from, 'r') : undefined;
  const output = options.into === undefined ? undefined : openSync(options.into, 'w');
  const spawnOptions: SpawnOptions = {
    stdio: [input ?? (options.from === undefined ? 'ignore' : 'pipe'), output ?? 'pipe', 'pipe'],
    env: { PATH: `${join(engineHome, 'bin')}:/usr/bin:/bin`, LC_ALL: 'C', ...pickedEnvironment(), ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.as ?? {}),
  };
  const child = spawn(programPath(program), [...args], spawnOptions);
  if (input !== undefined) closeSync(input);
  if (output !== undefined) closeSync(output);
  const stdout: Buffer[] = [];
  let log = '';
  let acted: Promise<void> | undefined;
  child.stdout?.on('data', (data: Buffer) => stdout.push(data));
  child.stderr?.on('data', (data: Buffer) => {
    log += data.toString('latin1');
    if (options.on && !acted && options.on.line.test(log)) acted = Promise.resolve(options.on.act(child));
  });
  if (Buffer.isBuffer(options.from)) {
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.from);
  }
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => resolve(status ?? 128 + (SIGNALS[signal ?? ''] ?? 0)));
  });
  await acted;
  if (isStandIn && spawnOptions.env?.REDOUBT_STANDIN_VERSION === undefined) {
    const unrecorded = program.startsWith('x') ? unrecordedLines(log) : [];
    if (unrecorded.length > 0) throw new Error(`the stand-in says what no recording has:\n${unrecorded.join('\n')}`);
  }
  return { code, stdout: Buffer.concat(stdout), log };
};

const pickedEnvironment = (): Record<string, string> =>
  Object.fromEntries(
    ['REDOUBT_STANDIN_VERSION', 'LD_LIBRARY_PATH', 'HOME'].flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );

/** Stops the process, lets `act` run, and lets the process go on. */
export const whileStopped =
  (act: () => Promise<void>) =>
  async (child: ChildProcess): Promise<void> => {
    child.kill('SIGSTOP');
    try {
      await act();
    } finally {
      child.kill('SIGCONT');
    }
  };
