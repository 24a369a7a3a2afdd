import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';

export interface Timed {
  /** From start to end. */
  readonly seconds: number;
  /** User and system time of everything the script started and waited for. */
  readonly cpuSeconds: number;
  readonly output: string;
}

export type Environment = Readonly<Record<string, string>>;

/** What programs started by the bench see: nothing of whoever runs it. */
const BASE: Environment = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/nonexistent',
  LC_ALL: 'C',
};

/** Times a bash script, both sides of a comparison by the same clock. Throws with its standard error where any part of it fails. */
export const timeShell = async (script: string, environment: Environment = {}): Promise<Timed> => {
  // The times are the last line of standard error, after whatever the programs say there.
  const child = spawn('/bin/bash', ['-c', `set -eo pipefail\nTIMEFORMAT='%3R %3U %3S'\ntime (\n${script}\n)`], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...BASE, ...environment },
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  });
  const [output, said, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (code !== 0) throw new Error(`the script ended with ${code}:\n${script}\n${said.slice(-4000)}`);
  const [real, user, system] = said.trim().split('\n').at(-1)?.split(' ').map(Number) ?? [];
  if (real === undefined || user === undefined || system === undefined)
    throw new Error(`no times in: ${said.slice(-1000)}`);
  return { seconds: real, cpuSeconds: user + system, output };
};
