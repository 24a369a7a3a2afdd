import { beforeEach, describe, expect, it } from 'vitest';
import { type CatalogQuery, catalogAnswerSchemas, catalogQuerySchema } from '#core/catalog-queries.ts';
import { RedoubtError } from '#core/errors.ts';
import { progressKey } from '#core/object-keys.ts';
import { keysLeftIn } from '#core/wrapped-key.ts';
import { queryCatalog } from '#functions/query-catalog/query-catalog.ts';
import { SHOP, sampleCluster } from '../doubles/sample-manifest.ts';
import { type ControlPlaneUnderTest, controlPlaneUnderTest, runId } from './control-plane-under-test.ts';

describe('asking the catalog', () => {
  let world: ControlPlaneUnderTest;
  beforeEach(async () => {
    world = await controlPlaneUnderTest();
    await world.backUp('run-1');
    await world.backUp('run-2');
  });

  /** The answer as it goes over the wire, read by the schema that its reader uses. */
  const ask = async <Q extends CatalogQuery['query']>(query: { readonly query: Q } & Record<string, unknown>) => {
    const wire = JSON.stringify(await queryCatalog(world.deps, catalogQuerySchema.parse(query)));
    return {
      wire,
      answer: catalogAnswerSchemas[query.query].parse(JSON.parse(wire)) as never as Record<string, unknown>,
    };
  };

  it('lists the clusters, each with its latest backup', async () => {
    await world.clusters.put(sampleCluster({ cluster: 'fresh' }));
    const { answer } = await ask({ query: 'clusters' });
    expect(answer.clusters).toMatchObject([
      { config: { cluster: 'fresh' } },
      { config: { cluster: 'shop' }, latest: { seq: 1, run: 'run-2' } },
    ]);
  });

  it('shows a cluster with its head, and the run that holds it', async () => {
    const before = await ask({ query: 'cluster', cluster: 'shop' });
    expect(before.answer).toMatchObject({ head: { tip: { seq: 1 } }, latest: { run: 'run-2' } });
    expect(before.answer.holder).toBeUndefined();
    await world.plan('run-3');
    expect((await ask({ query: 'cluster', cluster: 'shop' })).answer.holder).toBe('run-3');
  });

  it('lists chains and backups, LSNs as decimal strings, and no key', async () => {
    const { wire, answer } = await ask({ query: 'backups', cluster: 'shop' });
    expect(answer.backups).toMatchObject([{ seq: 0 }, { seq: 1 }]);
    const [chain] = (await world.chains.all(SHOP)).chains;
    expect(wire).toContain('"fromLsn":"0"');
    const [key] = chain ? keysLeftIn(chain.keys) : [];
    expect(wire).not.toContain(key?.ciphertext);
  });

  it('lists runs, newest first, of one cluster or of all', async () => {
    expect((await ask({ query: 'runs' })).answer.runs).toMatchObject([{ run: 'run-2' }, { run: 'run-1' }]);
    expect((await ask({ query: 'runs', cluster: 'shop', limit: 1 })).answer.runs).toMatchObject([{ run: 'run-2' }]);
  });

  it('lists, and shows, what ended before it was planned, and under all also what was of no known cluster', async () => {
    await world.settle('run-3', {
      outcome: 'failed',
      error: 'BackupInProgress',
      cause: 'run-2 is at it',
      cluster: SHOP,
    });
    await world.settle('run-4', { outcome: 'failed', error: 'UnknownCluster', cause: 'no cluster shpo was applied' });
    const refused = { run: 'run-3', state: 'refused', error: 'BackupInProgress', detail: 'run-2 is at it' };
    expect((await ask({ query: 'runs', cluster: 'shop', limit: 1 })).answer.runs).toMatchObject([refused]);
    const { runs } = (await ask({ query: 'runs' })).answer;
    expect(runs).toHaveLength(4);
    expect(runs).toEqual(expect.arrayContaining([expect.objectContaining({ run: 'run-4', state: 'failed' })]));
    expect((await ask({ query: 'run', run: 'run-4' })).answer.run).toMatchObject({
      state: 'failed',
      error: 'UnknownCluster',
      detail: 'no cluster shpo was applied',
    });
  });

  it('shows a run with its progress, and neither token nor grant', async () => {
    const planned = await world.plan('run-3');
    await world.ask('run-3', planned);
    const at = '2026-11-22T05:13:00Z';
    const progress = {
      run: 'run-3',
      cluster: 'shop',
      kind: 'backup',
      phase: 'copying',
      bytes: 5,
      expectedBytes: 10,
      files: 1,
      startedAt: at,
      at,
    };
    world.repository.objects.set(progressKey({ cluster: SHOP, run: runId('run-3') }), JSON.stringify(progress));
    const { wire, answer } = await ask({ query: 'run', run: 'run-3' });
    expect(answer).toMatchObject({ run: { state: 'asked', command: 'command-3' }, progress: { phase: 'copying' } });
    expect(wire).not.toContain('token-of');
    expect(wire).not.toContain('grant-of');
  });

  it('shows a run although the repository does not answer for its progress', async () => {
    world.repository.read = () => Promise.reject(new RedoubtError('RepositoryUnavailable', 'S3 is away'));
    expect((await ask({ query: 'run', run: 'run-2' })).answer).toMatchObject({ run: { run: 'run-2' } });
  });

  it.each(['{', '{"run":"run-2"}'])('leaves out a progress that cannot be read: %s', async (text) => {
    world.repository.objects.set(progressKey({ cluster: SHOP, run: runId('run-2') }), text);
    expect((await ask({ query: 'run', run: 'run-2' })).answer.progress).toBeUndefined();
  });

  it.each([
    [{ query: 'cluster', cluster: 'unknown' }, 'UnknownCluster'],
    [{ query: 'backups', cluster: 'unknown' }, 'UnknownCluster'],
    [{ query: 'run', run: 'run-9' }, 'UnknownRun'],
  ] as const)('answers %o by name', async (query, name) => {
    await expect(queryCatalog(world.deps, catalogQuerySchema.parse(query))).rejects.toMatchObject({ name });
  });
});
