import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { agentBundle, agentNodeOptions } from '../../scripts/agent-bundle.ts';
import type { AgentTask } from './agent-task.ts';

/** The agent of the bench: one bundled file, as the deployed one is, so that starting it costs what it costs on a host. */
export class BenchAgent {
  readonly #directory: string;
  #tasks = 0;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async build(directory: string): Promise<BenchAgent> {
    await build({
      entryPoints: [join(import.meta.dirname, 'agent-process.ts')],
      ...agentBundle,
      format: 'esm',
      outfile: join(directory, 'agent.mjs'),
      // Bundled CommonJS asks for Node's modules by `require`.
      banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
    });
    return new BenchAgent(directory);
  }

  /** A shell command that does `task` and prints an `AgentResult`. */
  command(task: AgentTask): string {
    const file = join(this.#directory, `task-${this.#tasks++}.json`);
    writeFileSync(file, JSON.stringify(task), { mode: 0o600 });
    return `'${process.execPath}' ${agentNodeOptions.join(' ')} '${join(this.#directory, 'agent.mjs')}' '${file}'`;
  }
}
