import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { RedoubtError } from '#core/errors.ts';
import type { EngineVersion } from './engine.ts';

/** The program in the directory the cluster file names, or by its name alone. */
export const programPath = (name: string, engineDirectory?: string): string =>
  engineDirectory === undefined ? name : join(engineDirectory, name);

/** The longest is the `--help` of XtraBackup, with every variable of InnoDB in it. */
const MAX_OUTPUT = 1_000_000;

/** What `program` prints on either stream, however it ends. Throws `EngineMissing` where it cannot be started. */
export const outputOf = (program: string, argument: '--version' | '--help'): Promise<string> =>
  new Promise((resolve, reject) => {
    const child = spawn(program, [argument], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH ?? '',
        LC_ALL: 'C',
        ...(process.env.LD_LIBRARY_PATH === undefined ? {} : { LD_LIBRARY_PATH: process.env.LD_LIBRARY_PATH }),
      },
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text: string) => {
        output = (output + text).slice(0, MAX_OUTPUT);
      });
    }
    child.on('error', (error) =>
      reject(new RedoubtError('EngineMissing', `${program} cannot be started: ${error.message}`, { cause: error })),
    );
    child.on('close', () => resolve(output));
  });

/**
 * Asks `program` for its version, which xtrabackup 2.4 writes to standard error. Throws `EngineMissing` where it cannot be started,
 * `EngineUnsuited` where `pattern`, whose first group is the version, does not match.
 */
export const readVersion = async (program: string, pattern: RegExp): Promise<EngineVersion> => {
  const output = await outputOf(program, '--version');
  const version = pattern.exec(output)?.[1];
  const series = /^\d+\.\d+/.exec(version ?? '')?.[0];
  if (version && series) return { version, series };
  throw new RedoubtError('EngineUnsuited', `${program} --version says: ${output.trim().slice(0, 200)}`);
};
