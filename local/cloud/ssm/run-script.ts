import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';

export interface ScriptOptions {
  /** Lines of the script. With a `#!` line it runs under that interpreter, as on a real host; else under `sh`. */
  readonly commands: readonly string[];
  /** Where the script file is written (mode 0700). */
  readonly directory: string;
  readonly workingDirectory: string;
  /** All of it: nothing is inherited. */
  readonly environment: Readonly<Record<string, string>>;
  readonly timeoutMilliseconds: number;
  readonly signal: AbortSignal;
}

export interface ScriptResult {
  /** 137 when it was killed, as the SSM agent reports it. */
  readonly exitCode: number;
  readonly ended: 'exited' | 'timed-out' | 'cancelled';
  readonly stdout: string;
  readonly stderr: string;
}

/** 128 + SIGKILL. */
const killed = 137;
/** More than any invocation shows; the rest is read and dropped. */
const longestOutput = 256 * 1024;

const collect = (stream: Readable): (() => string) => {
  const chunks: Buffer[] = [];
  let length = 0;
  stream.on('data', (chunk: Buffer) => {
    if (length < longestOutput) chunks.push(chunk);
    length += chunk.length;
  });
  return () => Buffer.concat(chunks).toString('utf8');
};

/**
 * Runs a script as the SSM agent does (its executers package): `sh -c <file>` as the leader of a process group of its own; on a
 * timeout or a cancellation the whole group gets SIGKILL at once, with no SIGTERM before. The output so far is kept.
 */
export const runScript = async (options: ScriptOptions): Promise<ScriptResult> => {
  const { commands, directory, workingDirectory, environment, timeoutMilliseconds, signal } = options;
  mkdirSync(directory, { recursive: true });
  mkdirSync(workingDirectory, { recursive: true });
  const file = join(directory, '_script.sh');
  writeFileSync(file, `${commands.join('\n')}\n`, { mode: 0o700 });

  const child = spawn('sh', ['-c', file], {
    cwd: workingDirectory,
    env: { ...environment },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  let ended: ScriptResult['ended'] = 'exited';
  const kill = (reason: ScriptResult['ended']) => {
    if (ended !== 'exited' || child.pid === undefined) return;
    ended = reason;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
    // A child that left the group may hold the pipes open: what it still writes is nobody's.
    child.stdout.destroy();
    child.stderr.destroy();
  };
  const cancel = () => kill('cancelled');
  const timer = setTimeout(() => kill('timed-out'), timeoutMilliseconds);
  signal.addEventListener('abort', cancel, { once: true });
  if (signal.aborted) cancel();
  try {
    const exitCode = await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve(code ?? killed));
    });
    return { exitCode: ended === 'exited' ? exitCode : killed, ended, stdout: stdout(), stderr: stderr() };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', cancel);
  }
};
