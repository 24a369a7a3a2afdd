import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface HelperProcess extends AsyncDisposable {
  /** The first line it printed. */
  readonly said: string;
}

/** Starts a server of the bench in a process of its own and waits for its first line. Its end is that of its standard input. */
export const startHelper = async (script: string, ...args: readonly string[]): Promise<HelperProcess> => {
  const child = spawn(process.execPath, [join(import.meta.dirname, script), ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const [said] = (await Promise.race([
    once(createInterface(child.stdout), 'line'),
    ended.then(([code]) => {
      throw new Error(`${script} ended with ${code}`);
    }),
  ])) as [string];
  return {
    said,
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await ended;
    },
  };
};
