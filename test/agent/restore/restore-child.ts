import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runRestore } from '#agent/commands/restore.ts';
import type { RunContext } from '#agent/commands/run-context.ts';
import { restoreInstructionSchema } from '#core/agent-protocol.ts';
import { MemoryRepository } from '#test/doubles/memory-repository.ts';

/** What a process that may be killed needs to run a restore; see `RestoreLab.startChild`. */
export interface ChildSpec {
  readonly instruction: unknown;
  readonly dataKey: string;
  /** A file for each object, its name the key in hex. */
  readonly objects: string;
  /** Reads of keys that contain this never settle; `<objects>/hangs` appears when the first one comes. */
  readonly hangOn?: string;
}

const spec = JSON.parse(readFileSync(process.argv[2] as string, 'utf8')) as ChildSpec;

class Bucket extends MemoryRepository {
  override get(...args: Parameters<MemoryRepository['get']>): ReturnType<MemoryRepository['get']> {
    if (spec.hangOn === undefined || !args[0].includes(spec.hangOn)) return super.get(...args);
    writeFileSync(join(spec.objects, 'hangs'), '');
    return new Promise(() => undefined);
  }
}

const repository = new Bucket();
for (const name of readdirSync(spec.objects))
  repository.objects.set(Buffer.from(name, 'hex').toString(), readFileSync(join(spec.objects, name)));

const context: RunContext = {
  repository,
  openKey: async () => ({ bytes: Buffer.from(spec.dataKey, 'hex'), destroy: () => undefined }),
  signal: new AbortController().signal,
  progress: {
    phase: () => undefined,
    step: () => undefined,
    add: () => undefined,
    expect: () => undefined,
    seconds: () => ({}),
  },
  log: (line) => console.log(line),
  now: () => new Date(),
  agentVersion: '0.0.0',
};
// Something must keep the process alive while it hangs.
setInterval(() => undefined, 1000);
await runRestore(restoreInstructionSchema.parse(spec.instruction), context);
process.exit(0);
