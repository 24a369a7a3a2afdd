import { Stack } from 'aws-cdk-lib';
import { PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { CfnScheduleGroup } from 'aws-cdk-lib/aws-scheduler';
import { Construct } from 'constructs';
import type { ControlFunction } from './control-function.ts';
import type { WorkflowNames } from './workflow-names.ts';

export interface BackupSchedulesProps {
  readonly controlPlane: string;
  readonly workflows: WorkflowNames;
}

/** Where the schedules of the clusters live, and the role they start backups with. The schedules come and go with cluster files. */
export class BackupSchedules extends Construct {
  readonly group: string;
  readonly role: Role;
  readonly #workflows: WorkflowNames;

  constructor(scope: Construct, id: string, { controlPlane, workflows }: BackupSchedulesProps) {
    super(scope, id);
    this.group = controlPlane;
    this.#workflows = workflows;
    new CfnScheduleGroup(this, 'Group', { name: this.group });
    this.role = new Role(this, 'Role', {
      description: 'Lets EventBridge Scheduler start backups',
      assumedBy: new ServicePrincipal('scheduler.amazonaws.com', {
        conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(this).account } },
      }),
    });
    this.role.addToPolicy(
      new PolicyStatement({ actions: ['states:StartExecution'], resources: [workflows.backUpArn] }),
    );
  }

  /** Keeps the schedules of this group, and may hand the scheduler this one role. */
  grantManage(fn: ControlFunction): void {
    fn.addEnvironment('SCHEDULE_GROUP', this.group);
    fn.addEnvironment('SCHEDULER_ROLE_ARN', this.role.roleArn);
    this.#workflows.tellBackUp(fn);
    fn.allow({
      actions: [
        'scheduler:CreateSchedule',
        'scheduler:UpdateSchedule',
        'scheduler:DeleteSchedule',
        'scheduler:GetSchedule',
      ],
      resources: [
        Stack.of(this).formatArn({ service: 'scheduler', resource: 'schedule', resourceName: `${this.group}/*` }),
      ],
      wildcards: 'Each cluster has a schedule in this group.',
    });
    fn.allow({
      actions: ['iam:PassRole'],
      resources: [this.role.roleArn],
      conditions: { StringEquals: { 'iam:PassedToService': 'scheduler.amazonaws.com' } },
    });
  }
}
