import type { MemoryFigure, MemoryRun } from './figure.ts';
import { startHelper } from './helper-process.ts';
import type { Workbench } from './workbench.ts';

const SMALL_BYTES = 1e9;
const GOAL_BYTES = 300 * 1024 * 1024;
/** About the size of a table's file in a database of hundreds of gigabytes. */
const FILE_BYTES = 250e6;

/** What an agent has resident while it stores a synthetic stream over HTTP into a sink that discards, a small one and a large one. */
export const measureMemory = async (bench: Workbench): Promise<MemoryFigure> => {
  await using sink = await startHelper('sink-process.ts');
  const run = async (bytes: number): Promise<MemoryRun> => {
    bench.options.say(`storing ${Math.round(bytes / 1e9)} GB`);
    const files = Math.max(2, Math.round(bytes / FILE_BYTES));
    const { seconds, result } = await bench.runAgent({ kind: 'store', bytes, files, to: 'bucket' }, sink.said);
    return { ...result, seconds };
  };
  const small = await run(SMALL_BYTES);
  return {
    kind: 'memory',
    name: 'memory',
    title: 'Resident memory of the agent while a stream passes',
    small,
    large: await run(bench.options.memoryBytes),
    goalBytes: GOAL_BYTES,
    notes: ['synthetic stream from a process of its own, through the S3 client, to a process that discards it'],
  };
};
