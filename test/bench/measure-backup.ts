import { rmSync } from 'node:fs';
import type { AgentResult, Sink } from './agent-task.ts';
import { BenchChain } from './bench-chain.ts';
import { ByHand } from './by-hand.ts';
import { compare } from './compare.ts';
import type { RatioFigure } from './figure.ts';
import { megabytes } from './format.ts';
import { startHelper } from './helper-process.ts';
import { ratioFigure } from './ratio-figure.ts';
import type { Workbench } from './workbench.ts';

/** A full backup through the agent, whole: probes, engine, inventory, zstd, seal, upload, checks, manifest. */
const agentBackup = async (bench: Workbench, to: Sink, origin: string | undefined, seen: AgentResult[]) => {
  const timed = await bench.runAgent(new BenchChain(await bench.server()).backup(to), origin);
  seen.push(timed.result);
  return timed;
};

const sizes = (seen: readonly AgentResult[]): string => {
  const last = seen.at(-1);
  return `${megabytes(last?.streamBytes ?? 0)} of stream became ${megabytes(last?.storedBytes ?? 0)}; the agent had at most ${megabytes(Math.max(...seen.map(({ peakBytes }) => peakBytes)))} resident; its phases: ${Object.entries(
    last?.phases ?? {},
  )
    .map(([phase, seconds]) => `${phase} ${seconds} s`)
    .join(', ')}`;
};

/** The agent into a sink that keeps nothing, against `mariadb-backup | zstd -T0 > /dev/null`. */
export const measureBarePipe = async (bench: Workbench, to: Sink): Promise<RatioFigure> => {
  const server = await bench.server();
  await using sink = to === 'nowhere' ? undefined : await startHelper('sink-process.ts');
  const hand = new ByHand(server, '', bench.passwordFile);
  const seen: AgentResult[] = [];
  const rounds = await compare(
    bench.options.rounds,
    () => agentBackup(bench, to, sink?.said, seen),
    () => bench.time(`${hand.engine(bench.emptyDirectory('bare'))} | zstd -q -T0 > /dev/null`),
    (round) => bench.options.say(`round ${round} of ${bench.options.rounds}`),
  );
  return ratioFigure(rounds, {
    name: to === 'nowhere' ? 'bare-pipe' : 'bare-pipe-http',
    title:
      to === 'nowhere'
        ? 'Back up into a sink in memory, against the bare pipe'
        : 'Back up by HTTP into a sink of its own process, against the bare pipe',
    goal: 0.9,
    ours: to === 'nowhere' ? 'agent, discarded' : 'agent, S3 protocol to a process that discards',
    theirs: 'mariadb-backup | zstd -T0 > /dev/null',
    notes: [sizes(seen)],
  });
};

/** The agent into the local S3 server, against what is written by hand into the same. */
export const measureUpload = async (bench: Workbench): Promise<RatioFigure> => {
  const server = await bench.server();
  const state = bench.emptyDirectory('s3');
  await using s3 = await startHelper('s3-process.ts', state);
  const hand = new ByHand(server, s3.said, bench.passwordFile);
  const seen: AgentResult[] = [];
  // What earlier rounds stored is in nobody's way, but the disk is not for ever.
  const clear = (): void => {
    for (const prefix of ['clusters', 'by-hand']) rmSync(`${state}/bench/${prefix}`, { recursive: true, force: true });
  };
  const rounds = await compare(
    bench.options.rounds,
    () => agentBackup(bench, 'bucket', s3.said, seen),
    () => bench.time(hand.upload(bench.emptyDirectory('hand'), 'full')),
    (round) => {
      clear();
      bench.options.say(`round ${round} of ${bench.options.rounds}`);
    },
  );
  return ratioFigure(rounds, {
    name: 'upload',
    title: 'Back up into the local S3 server, against the pipe written by hand',
    goal: 1,
    ours: 'agent',
    theirs: 'mariadb-backup | zstd -T0 | openssl enc | aws s3 cp -',
    notes: [sizes(seen), 'aws s3 cp does not sign, and so does not hash each part for a signature; nobody uses TLS'],
  });
};
