import { Duration } from 'aws-cdk-lib';
import {
  Alarm,
  ComparisonOperator,
  type IMetric,
  MathExpression,
  Metric,
  type MetricOptions,
  Stats,
  TreatMissingData,
} from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { Construct } from 'constructs';
import { METRIC_NAMESPACE, metricNames } from '#core/metric-names.ts';
import type { BackupSchedules } from './backup-schedules.ts';
import type { ControlFunction } from './control-function.ts';
import type { Notices } from './notices.ts';
import { STALENESS_CHECK_MINUTES } from './staleness-check.ts';

export interface AlarmsProps {
  readonly controlPlane: string;
  readonly notices: Notices;
  readonly schedules: BackupSchedules;
  /** Ten at most; not the check for stale clusters, whose absence has an alarm. */
  readonly functions: readonly ControlFunction[];
  /** Those that events start: nobody waits for them, so nobody else would see them fail. */
  readonly startedByEvents: readonly ControlFunction[];
}

const PERIOD = Duration.minutes(5);

/** One alarm for each thing a person has to look at; each names its article in docs/runbook.md. */
export class Alarms extends Construct {
  readonly #props: AlarmsProps;

  constructor(scope: Construct, id: string, props: AlarmsProps) {
    super(scope, id);
    this.#props = props;
    this.#alarm(
      'BackupFailed',
      'A backup failed, or ran into its time limit.',
      'a-backup-failed',
      metricOf('settle-run', 'backupFailed'),
    );
    this.#alarm(
      'RestoreFailed',
      'A restore failed, or ran into its time limit.',
      'a-restore-failed',
      metricOf('settle-run', 'restoreFailed'),
    );
    this.#alarm(
      'NoRecentBackup',
      'A cluster has gone without a backup for too long, or nobody looks whether one has.',
      'no-recent-backup',
      metricOf('report-stale-clusters', 'staleClusters', {
        statistic: Stats.MAXIMUM,
        // Several looks fall into one, so that a late one is not a missing one.
        period: Duration.minutes(3 * STALENESS_CHECK_MINUTES),
      }),
      TreatMissingData.BREACHING,
    );
    this.#alarm(
      'ScheduleMissed',
      'EventBridge Scheduler could not start a backup.',
      'a-schedule-did-not-start-its-backup',
      sum({
        targetErrors: this.#schedulerMetric('TargetErrorCount'),
        dropped: this.#schedulerMetric('InvocationDroppedCount'),
      }),
    );
    this.#alarm(
      'FollowUpFailed',
      'A function that follows up on ended commands and executions failed: a run may hold its lease and its grant.',
      'a-function-that-follows-up-failed',
      sum(
        Object.fromEntries(
          props.startedByEvents.map(({ fn, node }) => [`errors${node.id}`, fn.metricErrors({ period: PERIOD })]),
        ),
      ),
    );
    this.#alarm(
      'FunctionsThrottled',
      'Functions of the control plane were throttled: the concurrency of the account is used up.',
      'functions-are-throttled',
      sum(
        Object.fromEntries(
          props.functions.map(({ fn, node }) => [`throttles${node.id}`, fn.metricThrottles({ period: PERIOD })]),
        ),
      ),
    );
  }

  #schedulerMetric(metricName: string): Metric {
    return new Metric({
      namespace: 'AWS/Scheduler',
      metricName,
      dimensionsMap: { ScheduleGroup: this.#props.schedules.group },
      statistic: Stats.SUM,
      period: PERIOD,
    });
  }

  /** Goes off at the first occurrence. `article` is the anchor in docs/runbook.md. */
  #alarm(
    id: string,
    description: string,
    article: string,
    metric: IMetric,
    missing = TreatMissingData.NOT_BREACHING,
  ): void {
    const alarm = new Alarm(this, id, {
      alarmName: `${this.#props.controlPlane}-${id}`,
      alarmDescription: `${description} What to do: docs/runbook.md#${article}`,
      metric,
      threshold: 1,
      comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      evaluationPeriods: 1,
      treatMissingData: missing,
    });
    alarm.addAlarmAction(new SnsAction(this.#props.notices.topic));
  }
}

/**
 * What a function publishes of all clusters. Failed runs are counted by settle-run and not by Step Functions, to which a run that was
 * refused, because another one was at work, is as much a failure as any. Where settle-run cannot count, FollowUpFailed goes off.
 */
const metricOf = (folder: string, metric: keyof typeof metricNames, more: MetricOptions = {}): IMetric =>
  new Metric({
    namespace: METRIC_NAMESPACE,
    metricName: metricNames[metric],
    dimensionsMap: { service: folder },
    statistic: Stats.SUM,
    period: PERIOD,
    ...more,
  });

const sum = (metrics: Record<string, IMetric>): MathExpression =>
  new MathExpression({
    // Each metric is there only while something happens; a sum over a missing one would be missing too.
    expression: Object.keys(metrics)
      .map((name) => `FILL(${name}, 0)`)
      .join(' + '),
    usingMetrics: metrics,
    period: PERIOD,
  });
