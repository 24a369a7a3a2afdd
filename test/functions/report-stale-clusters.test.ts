import { Logger } from '@aws-lambda-powertools/logger';
import { Metrics } from '@aws-lambda-powertools/metrics';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { METRIC_NAMESPACE } from '#core/metric-names.ts';
import { reportStaleClusters } from '#functions/report-stale-clusters/report-stale-clusters.ts';
import { SHOP, sampleCluster } from '../doubles/sample-manifest.ts';
import { type ControlPlaneUnderTest, controlPlaneUnderTest } from './control-plane-under-test.ts';

const HOUR = 60 * 60 * 1000;
const config = sampleCluster({ policy: { alertAfterHours: 8 } });

describe('looking for stale clusters', () => {
  let world: ControlPlaneUnderTest;
  beforeEach(async () => {
    world = await controlPlaneUnderTest({ config });
  });

  const isStale = async () => (await reportStaleClusters(world.deps))[0]?.isStale;

  it('finds a cluster whose last backup is too old, and names it with that backup', async () => {
    const backup = await world.backUp('run-1');
    world.clock.advance(7 * HOUR);
    expect(await isStale()).toBe(false);
    expect(world.log.codes()).not.toContain('cluster-stale');
    world.clock.advance(HOUR);
    expect(await reportStaleClusters(world.deps)).toEqual([
      { cluster: SHOP, isStale: true, seconds: (8 * HOUR + 60_000) / 1000 },
    ]);
    expect(world.log.lines.at(-1)).toMatchObject({
      code: 'cluster-stale',
      fields: { cluster: SHOP, backup: backup.manifest.backup, alertAfterHours: 8 },
    });
  });

  it('finds nothing once there is a new backup, but finds it where runs only fail', async () => {
    await world.backUp('run-1');
    world.clock.advance(9 * HOUR);
    await world.settle('run-2', { outcome: 'failed', error: 'CatalogUnavailable', cause: '', cluster: SHOP });
    expect(await isStale()).toBe(true);
    await world.backUp('run-3');
    expect(await isStale()).toBe(false);
  });

  it('counts from when a cluster was first applied where it has no backup, however often it is applied', async () => {
    world.clock.advance(7 * HOUR);
    await world.clusters.put(config);
    expect(await isStale()).toBe(false);
    world.clock.advance(HOUR + 1000);
    expect(await isStale()).toBe(true);
  });

  it('does not believe the clock of a host', async () => {
    const planned = await world.plan('run-1');
    await world.ask('run-1', planned);
    await world.record('run-1', world.commit(planned.decoded, { endedAt: '2036-01-01T00:00:00.000Z' }));
    await world.settle('run-1');
    world.clock.advance(9 * HOUR);
    expect(await isStale()).toBe(true);
  });

  it('counts no backup whose keys were shredded', async () => {
    await world.backUp('run-1');
    const head = await world.chains.head(SHOP);
    if (!head) throw new Error('no head');
    const shredded = { at: world.clock.now().toISOString(), by: 'ada@laptop' };
    await world.chains.shred({ cluster: SHOP, chain: head.chain, shredded, lease: await world.lease() });
    world.clock.advance(8 * HOUR);
    expect(await isStale()).toBe(true);
  });
});

describe('the metrics of a look for stale clusters', () => {
  const published: Record<string, unknown>[] = [];
  beforeEach(() => {
    published.length = 0;
    for (const [name, value] of Object.entries({
      AWS_REGION: 'us-east-1',
      TABLE_NAME: 'catalog',
      POWERTOOLS_SERVICE_NAME: 'report-stale-clusters',
      // Writes to the console that is spied on; left to itself it would then write no metrics.
      POWERTOOLS_DEV: 'true',
      POWERTOOLS_METRICS_DISABLED: 'false',
    }))
      vi.stubEnv(name, value);
    vi.spyOn(console, 'log').mockImplementation((text) => {
      const line = JSON.parse(String(text));
      if (line._aws) published.push(line);
    });
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
  });

  it('are the age of each cluster, and how many are stale under no cluster, also where none is', async () => {
    const { createHandler } = await import('#functions/report-stale-clusters/handler.ts');
    const world = await controlPlaneUnderTest({ config });
    await world.clusters.put(sampleCluster({ cluster: 'fresh', policy: { alertAfterHours: 100 } }));
    const metrics = new Metrics({ namespace: METRIC_NAMESPACE });
    const handler = createHandler({ ...world.deps, edge: { logger: new Logger() }, metrics });
    await handler({}, {});
    expect(published.at(-1)).toMatchObject({ service: 'report-stale-clusters', StaleClusters: 0 });
    published.length = 0;
    world.clock.advance(9 * HOUR);
    await handler({}, {});
    expect(published).toEqual([
      expect.objectContaining({ cluster: 'fresh', BackupAge: 9 * 3600 }),
      expect.objectContaining({ cluster: 'shop', BackupAge: 9 * 3600 }),
      expect.objectContaining({ StaleClusters: 1 }),
    ]);
    expect(published.at(-1)).not.toHaveProperty('cluster');
  });
});
