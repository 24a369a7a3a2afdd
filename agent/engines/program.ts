import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { RedoubtError } from '#core/errors.ts';
import type { EngineVersion } from './engine.ts';

/** The program in the directory the cluster file names, or by its name alone. */
export const programPath = (name: string, engineDirectory?: string): string =>
  engineDirectory === undefined ? name : join(engineDirectory, name);

/**
 * Runs `program --version` and reads what it prints on either stream (xtrabackup 2.4 uses standard error). Throws `EngineMissing` where
 * it cannot be started, `EngineUnsuited` where `pattern`, whose first group is the version, does not match.
 */
export const readVersion = (program: string, pattern: RegExp): Promise<EngineVersion> =>
  new Promise((resolve, reject) => {
    const child = spawn(program, ['--version'], {
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
        output = (output + text).slice(0, 10_000);
      });
    }
    child.on('error', (error) =>
      reject(new RedoubtError('EngineMissing', `${program} cannot be started: ${error.message}`, { cause: error })),
    );
    child.on('close', () => {
      const version = pattern.exec(output)?.[1];
      const series = /^\d+\.\d+/.exec(version ?? '')?.[0];
      if (version && series) resolve({ version, series });
      else reject(new RedoubtError('EngineUnsuited', `${program} --version says: ${output.trim().slice(0, 200)}`));
    });
  });
