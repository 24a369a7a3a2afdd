import { Logger } from '@aws-lambda-powertools/logger';
import { Metrics } from '@aws-lambda-powertools/metrics';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { METRIC_NAMESPACE } from '#core/metric-names.ts';
import { controlPlaneUnderTest, executionOf } from './control-plane-under-test.ts';

const published: Record<string, unknown>[] = [];

beforeEach(() => {
  published.length = 0;
  for (const [name, value] of Object.entries({
    AWS_REGION: 'us-east-1',
    TABLE_NAME: 'catalog',
    BUCKET_NAME: 'repository',
    DATA_KEY_ARN: 'arn:aws:kms:us-east-1:111122223333:key/1',
    POWERTOOLS_SERVICE_NAME: 'settle-run',
    // Writes to the console that is spied on; left to itself it would then write no metrics.
    POWERTOOLS_DEV: 'true',
    POWERTOOLS_METRICS_DISABLED: 'false',
  }))
    vi.stubEnv(name, value);
  vi.spyOn(console, 'log').mockImplementation((text) => {
    const line = JSON.parse(String(text));
    if (line._aws) published.push(line);
  });
  vi.spyOn(console, 'info').mockImplementation(() => undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

describe('the metrics of a settled run', () => {
  it('count it once, however often it is settled, under its cluster', async () => {
    const { createHandler } = await import('#functions/settle-run/handler.ts');
    const world = await controlPlaneUnderTest();
    await world.ask('run-1', await world.plan('run-1'));
    const metrics = new Metrics({ namespace: METRIC_NAMESPACE });
    const handler = createHandler({ ...world.deps, edge: { logger: new Logger() }, metrics });
    const event = { run: 'run-1', execution: executionOf('run-1'), outcome: 'failed', error: 'AgentDied', cause: '' };
    await handler(event, {});
    await handler(event, {});
    expect(published).toHaveLength(1);
    expect(published[0]).toMatchObject({ cluster: 'shop', BackupFailed: 1 });
  });

  it('are none for an execution that cannot be a run', async () => {
    const { createHandler } = await import('#functions/settle-run/handler.ts');
    const world = await controlPlaneUnderTest();
    const metrics = new Metrics({ namespace: METRIC_NAMESPACE });
    const handler = createHandler({ ...world.deps, edge: { logger: new Logger() }, metrics });
    const detail = { name: 'a.b', executionArn: executionOf('a.b'), status: 'FAILED' };
    await expect(
      handler({ 'detail-type': 'Step Functions Execution Status Change', detail }, {}),
    ).resolves.toBeUndefined();
    expect(published).toEqual([]);
  });
});
