import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseCheckpoints } from '#core/checkpoints.ts';
import { BenchChain } from './bench-chain.ts';
import { ByHand } from './by-hand.ts';
import { compare } from './compare.ts';
import type { RatioFigure } from './figure.ts';
import { megabytes } from './format.ts';
import { startHelper } from './helper-process.ts';
import { ratioFigure } from './ratio-figure.ts';
import { timeShell } from './time-shell.ts';
import type { Workbench } from './workbench.ts';

const INCREMENTS = 2;

/** A full and two increments, taken both ways of the same server with nothing written in between, and restored both ways. */
export const measureRestore = async (bench: Workbench): Promise<RatioFigure> => {
  const server = await bench.server();
  await using s3 = await startHelper('s3-process.ts', bench.emptyDirectory('s3'));
  const chain = new BenchChain(server);
  const hand = new ByHand(server, s3.said, bench.passwordFile);
  const names: string[] = [];
  let stored = 0;
  let fromLsn: string | undefined;
  for (let seq = 0; seq <= INCREMENTS; seq++) {
    bench.options.say(seq === 0 ? 'taking a full' : `changing rows, taking increment ${seq}`);
    if (seq > 0) await server.change();
    const { result } = await bench.runAgent(chain.backup('bucket'), s3.said);
    chain.took(result);
    stored += result.storedBytes;
    const directory = bench.emptyDirectory('hand');
    const name = `backup-${seq}`;
    await timeShell(hand.upload(directory, name, fromLsn));
    const checkpoints = parseCheckpoints(readFileSync(join(directory, 'xtrabackup_checkpoints'), 'utf8'));
    if ('problem' in checkpoints) throw new Error(checkpoints.problem);
    fromLsn = String(checkpoints.toLsn);
    names.push(name);
  }
  const phases: Readonly<Record<string, number>>[] = [];
  const rounds = await compare(
    bench.options.rounds,
    async () => {
      const directory = bench.path('restored');
      const timed = await bench.runAgent(chain.restore(directory), s3.said);
      phases.push(timed.result.phases);
      rmSync(directory, { recursive: true });
      return timed;
    },
    async () => {
      const directory = bench.path('by-hand');
      const timed = await bench.time(hand.restore(directory, names));
      rmSync(directory, { recursive: true });
      return timed;
    },
    (round) => bench.options.say(`round ${round} of ${bench.options.rounds}`),
  );
  return ratioFigure(rounds, {
    name: 'restore',
    title: `Restore a full and ${INCREMENTS} increments, against the pipes written by hand`,
    goal: 1,
    ours: 'agent',
    theirs: 'aws s3 cp | openssl enc -d | zstd -d | mbstream -x, then each --prepare',
    notes: [
      `${megabytes(stored)} stored; the agent checks every byte and syncs the directory to the disk, by hand nobody does`,
      `the agent's phases: ${Object.entries(phases.at(-1) ?? {})
        .map(([phase, seconds]) => `${phase} ${seconds} s`)
        .join(', ')}`,
    ],
  });
};
