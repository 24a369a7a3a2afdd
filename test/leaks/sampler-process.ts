import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { needlesOf } from './needles.ts';
import { filesBelow, searchFiles } from './search-files.ts';

/** Comes on standard input: no secret that is looked for may be on this process's own command line. */
export interface SamplerTask {
  readonly output: string;
  readonly directories: readonly string[];
  readonly except: readonly string[];
  /** Base64; what is looked for in files meanwhile. */
  readonly secrets: readonly { readonly name: string; readonly base64: string }[];
}

export interface Sampled {
  /** Command lines and environments, each once. */
  readonly texts: readonly string[];
  readonly inFiles: readonly string[];
}

// Watches until its standard input ends: what processes are told, and what lies in the directories meanwhile. Says so each time it has
// looked through all of them.

/** A process shows other words once it has become the program it was started for. */
const OFTEN = 30;
const PAUSE_MS = 3;
/** Files may not keep the processes waiting. */
const FILES_AT_A_TIME_MS = 10;
const FILES_PAUSE_MS = 100;

const texts = new Set<string>();
const looks = new Map<string, number>();
const inFiles = new Set<string>();

const note = (path: string): void => {
  try {
    texts.add(readFileSync(path, 'latin1'));
  } catch {
    // It has ended.
  }
};

const lookAtProcesses = (): void => {
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid) || pid === String(process.pid)) continue;
    const count = (looks.get(pid) ?? 0) + 1;
    looks.set(pid, count);
    if (count > OFTEN && count % OFTEN !== 0) continue;
    note(`/proc/${pid}/cmdline`);
    note(`/proc/${pid}/environ`);
  }
};

/** One file after the other, those that have changed since they were last looked at; yields when to go on. */
function* lookAtFiles({ directories, except, secrets }: SamplerTask): Generator<number, never, undefined> {
  const needles = needlesOf(secrets.map(({ name, base64 }) => ({ name, bytes: Buffer.from(base64, 'base64') })));
  const startedAt = Date.now();
  const seen = new Map<string, number>();
  const excepted = new Set(except);
  for (;;) {
    for (const directory of directories)
      for (const path of filesBelow(directory, excepted)) {
        const changedAt = statSync(path, { throwIfNoEntry: false })?.ctimeMs;
        if (changedAt === undefined || changedAt < startedAt || seen.get(path) === changedAt) continue;
        seen.set(path, changedAt);
        for (const found of searchFiles([path], needles)) inFiles.add(found);
        yield Date.now();
      }
    process.stdout.write('looked\n');
    yield Date.now() + FILES_PAUSE_MS;
  }
}

const input = createInterface(process.stdin);
input.once('line', (line) => {
  const task = JSON.parse(line) as SamplerTask;
  const files = lookAtFiles(task);
  let filesAt = 0;
  const turn = (): void => {
    lookAtProcesses();
    const end = Date.now() + FILES_AT_A_TIME_MS;
    while (filesAt <= Date.now() && Date.now() < end) filesAt = files.next().value;
  };
  turn();
  const timer = setInterval(turn, PAUSE_MS);
  input.once('close', () => {
    clearInterval(timer);
    lookAtProcesses();
    const sampled: Sampled = { texts: [...texts], inFiles: [...inFiles] };
    writeFileSync(task.output, JSON.stringify(sampled), { mode: 0o600 });
  });
});
