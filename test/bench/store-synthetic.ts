import { join } from 'node:path';
import { runProcess } from '#agent/io/run-process.ts';
import { SecretDirectory } from '#agent/io/secret-directory.ts';
import type { Repository } from '#agent/repository/repository.ts';
import { EnginePipe } from '#agent/stream/engine-pipe.ts';
import { Inventory } from '#agent/stream/inventory.ts';
import { storeStream } from '#agent/stream/store-stream.ts';
import { XbstreamReader } from '#agent/stream/xbstream-reader.ts';
import { limitsSchema } from '#core/cluster-config.ts';
import { backupIdSchema, chainIdSchema, clusterIdSchema } from '#core/ids.ts';
import type { AgentResult, AgentTask } from './agent-task.ts';

const SAMPLES = 10;

/** Stores a synthetic stream as a backup stores its engine's: a process that writes, pipe, inventory, compression, seal, upload. */
export const storeSynthetic = async (
  task: Extract<AgentTask, { kind: 'store' }>,
  repository: Repository,
  signal: AbortSignal,
): Promise<Omit<AgentResult, 'peakBytes'>> => {
  using secrets = SecretDirectory.create();
  const pipe = await EnginePipe.open(secrets.path);
  const args = [join(process.env.REDOUBT_BENCH_SOURCES as string, 'synthetic-process.ts')];
  const running = runProcess(
    { program: process.execPath, args: [...args, String(task.bytes), String(task.files)] },
    { signal, stdout: pipe.theirs, onStderrLine: (line) => console.error(line) },
  );
  pipe.closeTheirs();
  const { compressionLevel, compressionThreads } = limitsSchema.parse({});
  const reader = new XbstreamReader();
  const inventory = new Inventory();
  const residentBytes: number[] = [];
  const stored = await storeStream({
    source: pipe,
    repository,
    dataKey: Buffer.alloc(32, 7),
    keyOf: (index) => `bench/data.${String(index).padStart(5, '0')}`,
    contextOf: (key) => ({
      cluster: clusterIdSchema.parse('bench'),
      chain: chainIdSchema.parse('20261122T051210Z-3f9a1c'),
      backup: backupIdSchema.parse('20261122T051210Z-f0000-3f9a1c'),
      object: key,
    }),
    compressionLevel,
    compressionThreads,
    signal,
    onBlock: (block) => {
      for (const event of reader.push(block)) inventory.note(event);
      if (reader.offset >= (task.bytes / SAMPLES) * (residentBytes.length + 1))
        residentBytes.push(process.memoryUsage.rss());
    },
  });
  reader.end();
  inventory.finish();
  const exit = await running.exited;
  if (exit.code !== 0) throw new Error(`the synthetic engine ended with ${exit.code ?? exit.signal}`);
  const storedBytes = stored.segments.reduce((sum, { object }) => sum + object.bytes, 0);
  return { streamBytes: stored.bytes, storedBytes, phases: {}, residentBytes };
};
