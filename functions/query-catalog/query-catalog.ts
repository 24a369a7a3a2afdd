import { z } from 'zod';
import { type Progress, progressSchema } from '#core/agent-protocol.ts';
import { assertNever } from '#core/assert-never.ts';
import {
  type CatalogAnswer,
  type CatalogQuery,
  catalogAnswerSchemas,
  type ShownChain,
  type ShownRun,
} from '#core/catalog-queries.ts';
import { type ChainRecord, isPlanned, type RunRecord } from '#core/catalog-records.ts';
import { RedoubtError } from '#core/errors.ts';
import type { ClusterId, RunId } from '#core/ids.ts';
import { progressKey, type RunAddress } from '#core/object-keys.ts';
import type { Chains } from '#core/ports/chains.ts';
import type { Clusters } from '#core/ports/clusters.ts';
import type { Leases } from '#core/ports/leases.ts';
import type { Repository } from '#core/ports/repository.ts';
import type { Runs } from '#core/ports/runs.ts';
import { latestBackup } from '../recording/latest-backup.ts';

export interface QueryCatalogDeps {
  readonly clusters: Clusters;
  readonly leases: Leases;
  readonly chains: Chains;
  readonly runs: Runs;
  readonly repository: Repository;
}

/** Answers an operator's question, in the wire's form: LSNs are decimal strings. */
export const queryCatalog = async (deps: QueryCatalogDeps, query: CatalogQuery): Promise<unknown> => {
  switch (query.query) {
    case 'clusters':
      return z.encode(catalogAnswerSchemas.clusters, await clustersOf(deps));
    case 'cluster':
      return z.encode(catalogAnswerSchemas.cluster, await clusterOf(deps, query.cluster));
    case 'backups':
      return z.encode(catalogAnswerSchemas.backups, await backupsOf(deps, query.cluster));
    case 'runs':
      return z.encode(catalogAnswerSchemas.runs, await runsOf(deps, query.cluster, query.limit));
    case 'run':
      return z.encode(catalogAnswerSchemas.run, await runOf(deps, query.run));
    default:
      return assertNever(query);
  }
};

const clustersOf = async (deps: QueryCatalogDeps): Promise<CatalogAnswer<'clusters'>> => ({
  clusters: await Promise.all(
    (await deps.clusters.list()).map(async (config) => {
      const latest = await latestBackup(deps.chains, config.cluster, await deps.chains.head(config.cluster));
      return { config, ...(latest && { latest }) };
    }),
  ),
});

const configOf = async ({ clusters }: QueryCatalogDeps, cluster: ClusterId) => {
  const config = await clusters.get(cluster);
  if (!config) throw new RedoubtError('UnknownCluster', `no cluster ${cluster} was applied`);
  return config;
};

const clusterOf = async (deps: QueryCatalogDeps, cluster: ClusterId): Promise<CatalogAnswer<'cluster'>> => {
  const config = await configOf(deps, cluster);
  const [head, lease] = await Promise.all([deps.chains.head(cluster), deps.leases.get(cluster)]);
  const latest = await latestBackup(deps.chains, cluster, head);
  return { config, ...(head && { head }), ...(latest && { latest }), ...(lease?.held && { holder: lease.run }) };
};

const backupsOf = async (deps: QueryCatalogDeps, cluster: ClusterId): Promise<CatalogAnswer<'backups'>> => {
  await configOf(deps, cluster);
  const { chains, backups } = await deps.chains.all(cluster);
  return { chains: chains.map(shownChain), backups };
};

const shownChain = ({ keys, ...chain }: ChainRecord): ShownChain => ({
  ...chain,
  ...('shredded' in keys && { shredded: keys.shredded }),
});

const shown = (record: RunRecord): ShownRun => {
  if (!isPlanned(record)) return record;
  const { grants: _grants, lent: _lent, ...run } = record;
  return run;
};

const runsOf = async (
  { clusters, runs }: QueryCatalogDeps,
  cluster: ClusterId | undefined,
  limit: number,
): Promise<CatalogAnswer<'runs'>> => {
  // Those of no known cluster too: who lost the catalog, or mistyped a name, sees here why nothing is backed up.
  const wanted = cluster ? [cluster] : [...(await clusters.list()).map((config) => config.cluster), undefined];
  const found = (await Promise.all(wanted.map((each) => runs.list(each, limit)))).flat();
  const newestFirst = found.toSorted((a, b) => (a.startedAt < b.startedAt ? 1 : a.startedAt > b.startedAt ? -1 : 0));
  return { runs: newestFirst.slice(0, limit).map(shown) };
};

const runOf = async ({ runs, repository }: QueryCatalogDeps, run: RunId): Promise<CatalogAnswer<'run'>> => {
  const record = await runs.get(run);
  if (!record) throw new RedoubtError('UnknownRun', `there is no run ${run}`);
  const progress = isPlanned(record) ? await progressOf(repository, record) : undefined;
  return { run: shown(record), ...(progress && { progress }) };
};

/** The host writes it for people, every few seconds: one that cannot be read is left out, never an error. */
const progressOf = async (repository: Repository, at: RunAddress): Promise<Progress | undefined> => {
  try {
    const stored = await repository.read(progressKey(at));
    return stored && progressSchema.safeParse(JSON.parse(stored.text)).data;
  } catch {
    return undefined;
  }
};
