import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { foundIn, needlesOf, type Secret } from './needles.ts';
import type { Sampled, SamplerTask } from './sampler-process.ts';

export interface WatchOptions {
  /** Searched for `secrets` again and again while the run goes on: what changes in them. */
  readonly directories: readonly string[];
  /** Paths in them that are not searched. */
  readonly except?: Iterable<string>;
  readonly secrets: readonly Secret[];
}

/** Watches every process of this machine, from a process of its own that ends with this one, for as long as a run goes on. */
export class LeakWatch {
  readonly #directory = mkdtempSync(join(tmpdir(), 'leak-watch-'));
  readonly #child: ChildProcess;
  #looks = 0;

  private constructor() {
    this.#child = spawn(process.execPath, [join(import.meta.dirname, 'sampler-process.ts')], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { PATH: process.env.PATH ?? '' },
    });
    this.#child.stdout?.on('data', () => void this.#looks++);
  }

  /** Watches by the time this resolves. */
  static async start({ directories, except = [], secrets }: WatchOptions): Promise<LeakWatch> {
    const watch = new LeakWatch();
    const task: SamplerTask = {
      output: watch.#output,
      directories,
      except: [...except],
      secrets: secrets.map(({ name, bytes }) => ({ name, base64: bytes.toString('base64') })),
    };
    watch.#child.stdin?.write(`${JSON.stringify(task)}\n`);
    await watch.looked();
    return watch;
  }

  /** Resolves once all directories were looked through again. */
  async looked(): Promise<void> {
    // One look may have been under way.
    for (const wanted = this.#looks + 2; this.#looks < wanted; ) await once(this.#child.stdout ?? this.#child, 'data');
  }

  /** Ends the watching; says what was seen. */
  async end(): Promise<Sampled> {
    this.#child.stdin?.end();
    await once(this.#child, 'close');
    try {
      return JSON.parse(readFileSync(this.#output, 'utf8')) as Sampled;
    } finally {
      rmSync(this.#directory, { recursive: true, force: true });
    }
  }

  get #output(): string {
    return join(this.#directory, 'sampled.json');
  }
}

/** Which secrets any process was told on its command line or in its environment. */
export const toldToProcesses = ({ texts }: Sampled, secrets: readonly Secret[]): readonly string[] => {
  const needles = needlesOf(secrets);
  return texts.flatMap((text) =>
    foundIn(Buffer.from(text, 'latin1'), needles).map((name) => `${name} in: ${text.split('\0', 1)}…`),
  );
};
