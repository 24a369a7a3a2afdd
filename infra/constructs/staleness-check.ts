import { Stack } from 'aws-cdk-lib';
import { PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { CfnSchedule } from 'aws-cdk-lib/aws-scheduler';
import { Construct } from 'constructs';
import type { BackupSchedules } from './backup-schedules.ts';
import type { ControlFunction } from './control-function.ts';

export interface StalenessCheckProps {
  readonly schedules: BackupSchedules;
  readonly reportStaleClusters: ControlFunction;
}

export const STALENESS_CHECK_MINUTES = 15;

/** Looks, whatever runs or fails, whether any cluster has gone without a backup for too long. */
export class StalenessCheck extends Construct {
  constructor(scope: Construct, id: string, { schedules, reportStaleClusters }: StalenessCheckProps) {
    super(scope, id);
    const role = new Role(this, 'Role', {
      description: 'Lets EventBridge Scheduler look for stale clusters',
      assumedBy: new ServicePrincipal('scheduler.amazonaws.com', {
        conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(this).account } },
      }),
    });
    role.addToPolicy(
      new PolicyStatement({ actions: ['lambda:InvokeFunction'], resources: [reportStaleClusters.fn.functionArn] }),
    );
    const schedule = new CfnSchedule(this, 'Schedule', {
      // No cluster's schedule has a dot in its name; and ScheduleMissed watches the group.
      name: `${schedules.group}.report-stale-clusters`,
      groupName: schedules.group,
      description: 'Looks for clusters that have gone without a backup for too long',
      scheduleExpression: `rate(${STALENESS_CHECK_MINUTES} minutes)`,
      flexibleTimeWindow: { mode: 'OFF' },
      target: { arn: reportStaleClusters.fn.functionArn, roleArn: role.roleArn, input: '{}' },
    });
    schedule.node.addDependency(schedules);
  }
}
