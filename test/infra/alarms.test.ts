import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Match, type Template } from 'aws-cdk-lib/assertions';
import { beforeAll, describe, expect, it } from 'vitest';
import { METRIC_NAMESPACE } from '#core/metric-names.ts';
import { SYNTH_MILLISECONDS, synthesize } from './synthesize.ts';

let template: Template;
let alarms: readonly { AlarmName: string; AlarmDescription: string; AlarmActions: unknown[]; Metrics: unknown[] }[];

beforeAll(async () => {
  ({ controlPlane: template } = await synthesize({ alarmEmail: 'somebody@example.com' }));
  alarms = Object.values(template.findResources('AWS::CloudWatch::Alarm')).map(({ Properties }) => Properties);
}, SYNTH_MILLISECONDS);

const alarm = (name: string) => alarms.find(({ AlarmName }) => AlarmName === `redoubt-${name}`);

describe('the alarms', () => {
  it('go off where a backup failed, a restore failed, there was no backup for too long, a schedule did nothing, or a follow-up was lost', () => {
    expect(alarms.map(({ AlarmName }) => AlarmName)).toEqual([
      'redoubt-BackupFailed',
      'redoubt-RestoreFailed',
      'redoubt-NoRecentBackup',
      'redoubt-ScheduleMissed',
      'redoubt-FollowUpFailed',
      'redoubt-FunctionsThrottled',
    ]);
  });

  it('tell the topic, and with it the address that was configured', () => {
    const [topic] = Object.keys(template.findResources('AWS::SNS::Topic'));
    for (const { AlarmActions } of alarms) expect(AlarmActions).toEqual([{ Ref: topic }]);
    template.hasResourceProperties('AWS::SNS::Subscription', {
      Protocol: 'email',
      Endpoint: 'somebody@example.com',
      TopicArn: { Ref: topic },
    });
  });

  it('may publish to the topic, from this account only', () => {
    template.hasResourceProperties('AWS::SNS::TopicPolicy', {
      PolicyDocument: {
        Statement: Match.arrayWith([
          Match.objectLike({
            Effect: 'Allow',
            Principal: { Service: 'cloudwatch.amazonaws.com' },
            Condition: { StringEquals: { 'aws:SourceAccount': { Ref: 'AWS::AccountId' } } },
          }),
        ]),
      },
    });
  });

  it.each(['BackupFailed', 'RestoreFailed'])('%s counts what settle-run counts, of all clusters', (name) => {
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      AlarmName: `redoubt-${name}`,
      Namespace: METRIC_NAMESPACE,
      MetricName: name,
      Dimensions: [{ Name: 'service', Value: 'settle-run' }],
      Statistic: 'Sum',
      Threshold: 1,
    });
  });

  it('go off too where nobody looks any more whether a cluster has a recent backup', () => {
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      AlarmName: 'redoubt-NoRecentBackup',
      Namespace: METRIC_NAMESPACE,
      MetricName: 'StaleClusters',
      Dimensions: [{ Name: 'service', Value: 'report-stale-clusters' }],
      Statistic: 'Maximum',
      Period: 2700,
      Threshold: 1,
      TreatMissingData: 'breaching',
    });
  });

  it('leave out the errors of functions that answer people: a typing mistake is no alarm', () => {
    const metrics = JSON.stringify(alarm('FollowUpFailed')?.Metrics);
    expect(metrics).toContain('SettleRun');
    expect(metrics).toContain('ReportCommandEnd');
    expect(metrics).not.toContain('ApplyCluster');
  });

  it('each name an article of the runbook', () => {
    for (const { AlarmDescription } of alarms)
      expect(AlarmDescription).toMatch(/^[A-Z].+\. What to do: docs\/runbook\.md#[a-z-]+$/);
  });
});

const runbook = join(import.meta.dirname, '..', '..', 'docs', 'runbook.md');

describe('the runbook', () => {
  it('has an article for each alarm', () => {
    expect(existsSync(runbook)).toBe(true);
    const anchors = readFileSync(runbook, 'utf8')
      .split('\n')
      .filter((line) => /^#+ /.test(line))
      .map((line) =>
        line
          .replace(/^#+ /, '')
          .toLowerCase()
          .replaceAll(/[^a-z0-9 -]/g, '')
          .replaceAll(' ', '-'),
      );
    const articles = alarms.map(({ AlarmDescription }) => AlarmDescription.split('runbook.md#')[1]);
    expect(anchors).toEqual(expect.arrayContaining(articles));
  });
});
