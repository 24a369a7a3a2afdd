import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { RedoubtError } from '#core/errors.ts';

export interface ProgramEnd {
  /** `null` where a signal ended it. */
  readonly code: number | null;
  /** The end of what it said on stdout and stderr. */
  readonly said: string;
}

const KEPT_CHARACTERS = 4000;

/** What a program of the system needs; nothing of the agent's own environment, which may hold credentials. */
const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
  HOME: '/root',
} as const;

/** Runs a program of the system (`sync`, `chown`, `systemctl` …) to its end. Throws `Unexpected` where it cannot be started. */
export const runProgram = async (argv: readonly string[], signal?: AbortSignal): Promise<ProgramEnd> => {
  const [program = '', ...args] = argv;
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: ENVIRONMENT, signal });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-KEPT_CHARACTERS);
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', (error) =>
      reject(
        signal?.aborted ? signal.reason : new RedoubtError('Unexpected', `${program} cannot be run: ${error.message}`),
      ),
    );
    child.once('close', (code) => resolve({ code, said: said.trim() }));
  });
};

export interface Launched {
  /** How it ended, once it has. */
  ended(): ProgramStart | undefined;
  /** Ends it, and what it started in its session, unless it has ended: it must not start a server later on. */
  giveUp(): void;
}

export type ProgramStart =
  | { readonly kind: 'exited'; readonly code: number | null }
  | { readonly kind: 'not-started'; readonly why: string };

/**
 * Starts a program that may stay or leave a server behind: in a session of its own, so that it outlives the agent, with its output in the
 * file `output` and not in a pipe that would close with the agent.
 */
export const launchProgram = async (argv: readonly string[], output: string): Promise<Launched> => {
  const [program = '', ...args] = argv;
  const log = await open(output, 'a', 0o600);
  try {
    let end: ProgramStart | undefined;
    const child = spawn(program, args, { stdio: ['ignore', log.fd, log.fd], env: ENVIRONMENT, detached: true });
    child.once('exit', (code) => {
      end ??= { kind: 'exited', code };
    });
    child.once('error', (error) => {
      end ??= { kind: 'not-started', why: error.message };
    });
    child.unref();
    return {
      ended: () => end,
      giveUp: () => {
        if (end !== undefined || child.pid === undefined) return;
        try {
          process.kill(-child.pid, 'SIGTERM');
        } catch {
          // It ended in the meantime.
        }
      },
    };
  } finally {
    await log.close();
  }
};
