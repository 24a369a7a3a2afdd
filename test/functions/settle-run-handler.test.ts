import { Logger } from '@aws-lambda-powertools/logger';
import { Metrics } from '@aws-lambda-powertools/metrics';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { METRIC_NAMESPACE } from '#core/metric-names.ts';
import { type ControlPlaneUnderTest, controlPlaneUnderTest, executionOf } from './control-plane-under-test.ts';

const published: Record<string, unknown>[] = [];

beforeEach(() => {
  published.length = 0;
  for (const [name, value] of Object.entries({
    AWS_REGION: 'us-east-1',
    TABLE_NAME: 'catalog',
    BUCKET_NAME: 'repository',
    BACKUP_STATE_MACHINE_ARN: 'arn:aws:states:us-east-1:111122223333:stateMachine:redoubt-back-up',
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

const handlerOver = async ({ deps }: ControlPlaneUnderTest) => {
  const { createHandler } = await import('#functions/settle-run/handler.ts');
  const metrics = new Metrics({ namespace: METRIC_NAMESPACE });
  return createHandler({ ...deps, edge: { logger: new Logger() }, metrics });
};

/** The dimensions a metric is published under, each set by the names in it. */
const seriesOf = (line: Record<string, unknown> = {}) =>
  (line._aws as { CloudWatchMetrics: { Dimensions: string[][] }[] }).CloudWatchMetrics[0]?.Dimensions;

describe('the metrics of a settled run', () => {
  it('count it once, however often it is settled, for all clusters and under its own', async () => {
    const world = await controlPlaneUnderTest();
    await world.ask('run-1', await world.plan('run-1'));
    const handler = await handlerOver(world);
    const event = { run: 'run-1', execution: executionOf('run-1'), outcome: 'failed', error: 'AgentDied', cause: '' };
    await handler(event, {});
    await handler(event, {});
    expect(published).toHaveLength(1);
    expect(published[0]).toMatchObject({ service: 'settle-run', cluster: 'shop', BackupFailed: 1 });
    expect(seriesOf(published[0])).toEqual([['service'], ['service', 'cluster']]);
  });

  it('count a run that failed before it was planned as any other failure, once', async () => {
    const handler = await handlerOver(await controlPlaneUnderTest());
    const execution = executionOf('run-1');
    const failure = { error: 'CatalogUnavailable', cause: '' };
    await handler({ run: 'run-1', execution, outcome: 'failed', cluster: 'shop', ...failure }, {});
    const detail = {
      name: 'run-1',
      executionArn: execution,
      status: 'FAILED',
      input: '{"cluster":"shop"}',
      ...failure,
    };
    await handler({ 'detail-type': 'Step Functions Execution Status Change', detail }, {});
    expect(published).toEqual([expect.objectContaining({ cluster: 'shop', BackupFailed: 1 })]);
  });

  it('count what was asked for an unknown cluster under no cluster: whatever is mistyped would become a metric', async () => {
    const handler = await handlerOver(await controlPlaneUnderTest());
    const failure = { outcome: 'failed', cluster: 'shpo', error: 'UnknownCluster', cause: '' };
    await handler({ run: 'run-1', execution: executionOf('run-1'), ...failure }, {});
    expect(published).toEqual([expect.objectContaining({ BackupFailed: 1 })]);
    expect(seriesOf(published[0])).toEqual([['service']]);
  });

  it('count a run that found another one at work as refused, which no alarm watches', async () => {
    const handler = await handlerOver(await controlPlaneUnderTest());
    const failure = { outcome: 'failed', cluster: 'shop', error: 'BackupInProgress', cause: '' };
    await handler({ run: 'run-1', execution: executionOf('run-1'), ...failure }, {});
    expect(published).toEqual([expect.objectContaining({ cluster: 'shop', BackupRefused: 1 })]);
    expect(published[0]).not.toHaveProperty('BackupFailed');
  });

  it('count nothing that somebody aborted', async () => {
    const world = await controlPlaneUnderTest();
    await world.ask('run-1', await world.plan('run-1'));
    const handler = await handlerOver(world);
    const detail = { name: 'run-1', executionArn: executionOf('run-1'), status: 'ABORTED' };
    await handler({ 'detail-type': 'Step Functions Execution Status Change', detail }, {});
    expect(published).toEqual([]);
  });

  it('are none for an execution that cannot be a run', async () => {
    const handler = await handlerOver(await controlPlaneUnderTest());
    const detail = { name: 'a.b', executionArn: executionOf('a.b'), status: 'FAILED' };
    await expect(
      handler({ 'detail-type': 'Step Functions Execution Status Change', detail }, {}),
    ).resolves.toBeUndefined();
    expect(published).toEqual([]);
  });
});
