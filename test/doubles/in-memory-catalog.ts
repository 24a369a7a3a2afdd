import { isDeepStrictEqual } from 'node:util';
import {
  type BackupRecord,
  type ChainHead,
  type ChainRecord,
  type CommandRecord,
  isPlanned,
  type Lease,
  type PlannedRun,
  type RunRecord,
} from '#core/catalog-records.ts';
import type { ClusterId, RunId } from '#core/ids.ts';
import type { Chains } from '#core/ports/chains.ts';
import type { Clock } from '#core/ports/clock.ts';
import type { AppliedCluster, Clusters } from '#core/ports/clusters.ts';
import type { Acquisition, LeaseRequest, Leases } from '#core/ports/leases.ts';
import type { Runs, TransitionOutcome } from '#core/ports/runs.ts';
import { type RunTransition, runTransitions } from '#core/run-transitions.ts';
import { fakeClock } from './fake-clock.ts';

export interface Catalog {
  readonly clusters: Clusters;
  readonly leases: Leases;
  readonly chains: Chains;
  readonly runs: Runs;
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The catalog with the promises of its ports and no database: each method is one atomic step. */
export const inMemoryCatalog = (clock: Clock = fakeClock()): Catalog => {
  const configs = new Map<ClusterId, AppliedCluster>();
  const leases = new Map<ClusterId, Lease>();
  const heads = new Map<ClusterId, ChainHead>();
  const chains = new Map<string, ChainRecord>();
  const backups = new Map<string, BackupRecord>();
  const runs = new Map<RunId, RunRecord>();
  const commands = new Map<string, CommandRecord>();

  const applied = () => [...configs.values()].sort((a, b) => byText(a.config.cluster, b.config.cluster));

  const take = (request: LeaseRequest, may: (lease: Lease) => boolean): Acquisition => {
    const current = leases.get(request.cluster);
    if (current && !may(current)) return { kind: 'held', lease: current };
    const lease: Lease = {
      cluster: request.cluster,
      run: request.run,
      execution: request.execution,
      held: true,
      token: (current?.token ?? 0) + 1,
      acquiredAt: request.now.toISOString(),
      expiresAt: new Date(request.now.getTime() + request.seconds * 1000).toISOString(),
    };
    leases.set(request.cluster, lease);
    return { kind: 'acquired', lease };
  };

  const mayStart = (transition: RunTransition, { state }: RunRecord): boolean =>
    runTransitions[transition].from.some((from) => from === state);

  const change = (run: RunId, changes: Partial<PlannedRun>): PlannedRun | undefined => {
    const current = runs.get(run);
    if (!current || !isPlanned(current)) return undefined;
    const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
    const next: PlannedRun = { ...current, ...given };
    runs.set(run, next);
    return next;
  };

  const runsOf = (cluster: ClusterId | undefined): readonly RunRecord[] =>
    [...runs.values()]
      .filter((it) => it.cluster === cluster)
      .sort((a, b) => byText(b.startedAt, a.startedAt) || byText(b.run, a.run));

  const done = (run: PlannedRun | undefined): TransitionOutcome => (run ? { kind: 'done', run } : { kind: 'unknown' });

  return {
    clusters: {
      get: async (cluster) => configs.get(cluster)?.config,
      put: async (config) => {
        const { firstAppliedAt = clock.now() } = configs.get(config.cluster) ?? {};
        configs.set(config.cluster, { config, firstAppliedAt });
      },
      list: async () => applied().map(({ config }) => config),
      applied: async () => applied(),
    },
    leases: {
      acquire: async (request) =>
        take(request, ({ held, expiresAt, run, execution }) => {
          return (
            !held || expiresAt < request.now.toISOString() || (run === request.run && execution === request.execution)
          );
        }),
      takeOver: async (request, from) => take(request, ({ token }) => token === from.token),
      release: async (cluster, token) => {
        const current = leases.get(cluster);
        if (current?.token !== token) return false;
        leases.set(cluster, { ...current, held: false });
        return true;
      },
      get: async (cluster) => leases.get(cluster),
    },
    chains: {
      head: async (cluster) => heads.get(cluster),
      chain: async (cluster, chain) => chains.get(`${cluster}/${chain}`),
      backup: async (cluster, chain, seq) => backups.get(`${cluster}/${chain}/${seq}`),
      all: async (cluster) => ({
        chains: [...chains.values()].filter((it) => it.cluster === cluster).sort((a, b) => byText(a.chain, b.chain)),
        backups: [...backups.values()]
          .filter((it) => it.cluster === cluster)
          .sort((a, b) => byText(a.chain, b.chain) || a.seq - b.seq),
      }),
      append: async ({ cluster, expected, head, record, opens, lease }) => {
        const held = leases.get(cluster);
        if (!held?.held || held.run !== lease.run || held.token !== lease.token) return 'lease-lost';
        const current = heads.get(cluster);
        const isExpected =
          current?.tip.backup === expected?.tip.backup && current?.tip.manifestSha256 === expected?.tip.manifestSha256;
        const place = `${cluster}/${record.chain}/${record.seq}`;
        const isTaken = backups.has(place) || (opens && chains.has(`${cluster}/${opens.chain}`));
        if (!isExpected || isTaken) return 'conflict';
        heads.set(cluster, head);
        backups.set(place, record);
        if (opens) chains.set(`${cluster}/${opens.chain}`, opens);
        return 'appended';
      },
      rewrap: async (cluster, chain, from, to) => {
        const current = chains.get(`${cluster}/${chain}`);
        if (!current || !isDeepStrictEqual(current.keys, from)) return false;
        chains.set(`${cluster}/${chain}`, { ...current, keys: to });
        return true;
      },
      shred: async ({ cluster, chain, shredded, lease }) => {
        const [current, held, head] = [chains.get(`${cluster}/${chain}`), leases.get(cluster), heads.get(cluster)];
        if (!current || held?.token !== lease?.token || held?.held !== lease?.held) return false;
        chains.set(`${cluster}/${chain}`, { ...current, keys: { shredded } });
        if (head?.chain === chain) heads.set(cluster, { ...head, shredded });
        return true;
      },
    },
    runs: {
      plan: async (record) => {
        const current = runs.get(record.run);
        if (current && (current.execution !== record.execution || !mayStart('replan', current)))
          return { kind: 'refused', run: current };
        runs.set(record.run, record);
        return { kind: 'done', run: record };
      },
      recordUnplanned: async (record) => {
        const current = runs.get(record.run);
        if (!current) runs.set(record.run, record);
        return current;
      },
      transition: async (run, transition, changes = {}) => {
        const current = runs.get(run);
        if (current && !mayStart(transition, current)) return { kind: 'refused', run: current };
        return done(change(run, { ...changes, state: runTransitions[transition].to }));
      },
      setGrants: async (run, grants) => {
        change(run, { grants, lent: null });
      },
      get: async (run) => runs.get(run),
      list: async (cluster, limit) => runsOf(cluster).slice(0, limit),
      all: async (cluster) => runsOf(cluster).filter(isPlanned),
      linkCommand: async (record) => {
        const current = runs.get(record.run);
        if (current && !mayStart('ask', current)) return { kind: 'refused', run: current };
        if (current) commands.set(record.command, record);
        return done(change(record.run, { command: record.command }));
      },
      commandOf: async (command) => commands.get(command),
    },
  };
};
