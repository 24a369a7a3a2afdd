import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AgentResult, AgentTask } from './agent-task.ts';
import { BenchAgent } from './bench-agent.ts';
import { type BenchServer, startBenchServer } from './bench-server.ts';
import { type Environment, type Timed, timeShell } from './time-shell.ts';

export interface WorkbenchOptions {
  readonly rounds: number;
  /** 1 is about 1 GB. */
  readonly scale: number;
  readonly memoryBytes: number;
  readonly say: (line: string) => void;
}

/** What the figures are measured with, each part started when it is first asked for and gone at the end. */
export class Workbench implements AsyncDisposable {
  readonly options: WorkbenchOptions;
  readonly directory = mkdtempSync(join(tmpdir(), 'redoubt-bench-'));
  readonly passwordFile = join(this.directory, 'password');
  readonly #parts = new AsyncDisposableStack();
  #agent: Promise<BenchAgent> | undefined;
  #server: Promise<BenchServer> | undefined;
  #names = 0;

  constructor(options: WorkbenchOptions) {
    this.options = options;
    writeFileSync(this.passwordFile, randomBytes(24).toString('base64'), { mode: 0o600 });
  }

  /** A path below the workbench's directory that nothing has yet. */
  path(name: string): string {
    return join(this.directory, `${name}-${this.#names++}`);
  }

  /** An empty directory. */
  emptyDirectory(name: string): string {
    const path = this.path(name);
    mkdirSync(path);
    return path;
  }

  server(): Promise<BenchServer> {
    this.#server ??= (async () => {
      this.options.say('filling a server');
      return this.#parts.use(await startBenchServer(this.directory, this.options.scale));
    })();
    return this.#server;
  }

  /** Runs the agent in a process of its own, against the bucket at `origin`. */
  async runAgent(task: AgentTask, origin?: string): Promise<Timed & { readonly result: AgentResult }> {
    this.#agent ??= BenchAgent.build(this.directory);
    const timed = await this.time((await this.#agent).command(task), {
      // As agent/main.ts sets it, before libuv reads it.
      UV_THREADPOOL_SIZE: '8',
      REDOUBT_BENCH_SOURCES: import.meta.dirname,
      TMPDIR: this.directory,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'bench',
      AWS_SECRET_ACCESS_KEY: 'bench',
      ...(origin === undefined ? {} : { AWS_ENDPOINT_URL: origin }),
    });
    return { ...timed, result: JSON.parse(timed.output) as AgentResult };
  }

  /** Times a script with nothing left to be written by what ran before. */
  async time(script: string, environment: Environment = {}): Promise<Timed> {
    await timeShell('sync');
    return timeShell(script, environment);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
