import type { ChainRecord } from '#core/catalog-records.ts';
import { RedoubtError } from '#core/errors.ts';
import type { ClusterId } from '#core/ids.ts';
import type { RewrapAnswer, RewrappedChain, RewrapRequest } from '#core/key-requests.ts';
import { withKeys } from '#core/manifest.ts';
import type { BackupAddress } from '#core/object-keys.ts';
import type { Chains } from '#core/ports/chains.ts';
import type { Clusters } from '#core/ports/clusters.ts';
import type { Keys } from '#core/ports/keys.ts';
import type { Leases } from '#core/ports/leases.ts';
import type { Log } from '#core/ports/log.ts';
import type { Repository } from '#core/ports/repository.ts';
import { type ChainKeys, keysLeftIn, type StoredKeys, type WrappedKey } from '#core/wrapped-key.ts';
import { readManifest } from '../recording/read-manifest.ts';
import { inParallel } from '../runtime/in-parallel.ts';
import { manifestsOfChain } from './manifests-of-chain.ts';

export interface RewrapKeysDeps {
  readonly clusters: Clusters;
  readonly chains: Chains;
  readonly leases: Leases;
  readonly keys: Keys;
  readonly repository: Repository;
  readonly log: Log;
  /** Beside `keys.dataKey`: what chains may be moved to. */
  readonly otherKeys: readonly string[];
}

/** A call ends after the chain with which it has looked at so many manifests. */
const MANIFESTS_PER_CALL = 300;

const IN_PARALLEL = 8;

/**
 * Moves the wrapped keys of chains to another KMS key, without touching data: `ReEncrypt` opens and closes them inside KMS. Each
 * stored form is wrapped anew from itself, never from another copy: a wrong key in one place cannot spread. First the
 * chain's item in the catalog, which restores go by, then its manifests, each by a conditional write; whatever is under `to`
 * already is skipped. So it can be stopped anywhere and run again, and in between every chain opens, because both KMS keys do.
 */
export const rewrapKeys = async (deps: RewrapKeysDeps, request: RewrapRequest): Promise<RewrapAnswer> => {
  const { clusters, chains, leases, keys, log } = deps;
  const { cluster, execute } = request;
  const to = request.to ?? keys.dataKey;
  if (to !== keys.dataKey && !deps.otherKeys.includes(to))
    throw new RedoubtError(
      'InvalidInput',
      `${to} is not a key of this control plane: name it in otherKeys of redoubt.config.json and deploy`,
    );
  if (!(await clusters.get(cluster))) throw new RedoubtError('UnknownCluster', `no cluster ${cluster} was applied`);
  const all = (await chains.all(cluster)).chains;
  if (request.chain && !all.some(({ chain }) => chain === request.chain))
    throw new RedoubtError('UnknownBackup', `the cluster has no chain ${request.chain}`);
  const wanted = all.filter(
    ({ chain }) => (!request.chain || chain === request.chain) && (!request.after || chain > request.after),
  );
  const done: RewrappedChain[] = [];
  let looked = 0;
  for (const record of wanted) {
    if (looked >= MANIFESTS_PER_CALL) break;
    const rewrapped = await rewrapChain(deps, record, to, execute);
    if (rewrapped.state === 'rewrapped') {
      const { chain, stale } = rewrapped;
      log.info('keys-rewrapped', { cluster, chain, to, manifests: stale });
    }
    done.push(rewrapped);
    looked += Math.max(1, rewrapped.manifests);
  }
  const lease = await leases.get(cluster);
  const last = done.at(-1);
  return {
    to,
    executed: execute,
    chains: done,
    ...(last && done.length < wanted.length && { next: last.chain }),
    ...(lease?.held && { busy: lease.run }),
  };
};

const isUnder = (to: string, stored: StoredKeys): boolean => keysLeftIn(stored).every(({ kmsKey }) => kmsKey === to);

const rewrapChain = async (
  deps: RewrapKeysDeps,
  record: ChainRecord,
  to: string,
  execute: boolean,
): Promise<RewrappedChain> => {
  const { repository } = deps;
  const { cluster, chain } = record;
  if ('shredded' in record.keys) return { chain, state: 'shredded', from: [], manifests: 0, stale: 0, unreadable: [] };
  const addresses = await manifestsOfChain(repository, cluster, chain);
  const read = await inParallel(addresses, IN_PARALLEL, async (at) => ({
    at,
    found: await readManifest(repository, at),
  }));
  const manifests = read.flatMap(({ at, found }) => (found.kind === 'found' ? [{ at, found }] : []));
  const unreadable = read.flatMap(({ at, found }) => (found.kind === 'invalid' ? [at.backup] : []));
  const stale = manifests.filter(({ found }) => !isUnder(to, found.manifest.keys));
  const held = [record.keys, ...stale.map(({ found }) => found.manifest.keys)].flatMap(keysLeftIn);
  const from = [...new Set(held.map(({ kmsKey }) => kmsKey))].filter((kmsKey) => kmsKey !== to).sort();
  const facts = { chain, from, manifests: manifests.length, stale: stale.length, unreadable };
  if (from.length === 0) return { ...facts, state: 'current' };
  if (!execute) return { ...facts, state: 'stale' };

  const rewrap = rewrapper(deps.keys, to);
  if (!isUnder(to, record.keys)) {
    if (!(await deps.chains.rewrap(cluster, chain, record.keys, await rewrap(record.keys))))
      throw changed(cluster, chain);
  }
  await inParallel(stale, IN_PARALLEL, async ({ at }) => rewrapManifest(deps, at, to, rewrap));
  return { ...facts, state: 'rewrapped' };
};

const changed = (cluster: ClusterId, what: string): RedoubtError =>
  new RedoubtError(
    'CatalogConflict',
    `the keys of ${what} of ${cluster} were changed at the same moment; run it again`,
  );

/** Copies are alike, and asked for once: the answer of KMS is another one each time. */
const rewrapper = (keys: Keys, to: string) => {
  const known = new Map<string, Promise<WrappedKey>>();
  const rewrapOne = (key: WrappedKey): Promise<WrappedKey> => {
    if (key.kmsKey === to) return Promise.resolve(key);
    const name = JSON.stringify([key.kmsKey, key.ciphertext, key.context.purpose]);
    const made = known.get(name) ?? keys.rewrap(key, to);
    known.set(name, made);
    return made;
  };
  return async ({ data, engine, transition }: ChainKeys): Promise<ChainKeys> => ({
    data: await rewrapOne(data),
    ...(engine && { engine: await rewrapOne(engine) }),
    ...(transition && { transition: await rewrapOne(transition) }),
  });
};

const rewrapManifest = async (
  { repository }: RewrapKeysDeps,
  at: BackupAddress,
  to: string,
  rewrap: (keys: ChainKeys) => Promise<ChainKeys>,
): Promise<void> => {
  // Twice: of two that re-wrap at the same moment, the second finds the work done.
  for (let tries = 0; tries < 2; tries += 1) {
    const found = await readManifest(repository, at);
    if (found.kind !== 'found' || 'shredded' in found.manifest.keys || isUnder(to, found.manifest.keys)) return;
    const text = withKeys(found.stored.text, await rewrap(found.manifest.keys));
    if ((await repository.replace(found.key, text, found.stored.etag)) === 'replaced') return;
  }
  throw changed(at.cluster, at.backup);
};
