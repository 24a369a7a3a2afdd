import {
  ConflictException,
  CreateScheduleCommand,
  type CreateScheduleCommandInput,
  DeleteScheduleCommand,
  ResourceNotFoundException,
  SchedulerClient,
  UpdateScheduleCommand,
  ValidationException,
} from '@aws-sdk/client-scheduler';
import { RedoubtError } from '#core/errors.ts';
import type { ClusterId } from '#core/ids.ts';
import type { Schedules } from '#core/ports/schedules.ts';
import type { BackupRequest } from '#core/run-requests.ts';
import { serviceFailure } from './service-failure.ts';

export interface EventbridgeSchedulesOptions {
  readonly group: string;
  /** ARN of the role that may start the state machine. */
  readonly role: string;
  /** ARN of the state machine that backs a cluster up. */
  readonly stateMachine: string;
}

const scheduleName = (cluster: ClusterId): string => `redoubt-${cluster}`;

export const eventbridgeSchedules = (
  { group, role, stateMachine }: EventbridgeSchedulesOptions,
  client = new SchedulerClient({}),
): Schedules => ({
  nameOf: scheduleName,

  async put({ cluster, expression, timezone }) {
    const request: BackupRequest = { cluster, kind: 'auto', reason: 'schedule' };
    const schedule: CreateScheduleCommandInput = {
      Name: scheduleName(cluster),
      GroupName: group,
      Description: `Backs up the cluster ${cluster}. Written by redoubt apply; the next apply overwrites changes.`,
      ScheduleExpression: expression,
      ScheduleExpressionTimezone: timezone,
      FlexibleTimeWindow: { Mode: 'OFF' },
      Target: { Arn: stateMachine, RoleArn: role, Input: JSON.stringify(request) },
    };
    try {
      try {
        await client.send(new UpdateScheduleCommand(schedule));
      } catch (error) {
        if (!(error instanceof ResourceNotFoundException)) throw error;
        await client.send(new CreateScheduleCommand(schedule));
      }
      return scheduleName(cluster);
    } catch (error) {
      if (error instanceof ValidationException)
        throw new RedoubtError(
          'InvalidClusterFile',
          `policy: the scheduler does not accept ${expression} in ${timezone}: ${error.message}`,
          { cause: error },
        );
      // Somebody applied the same cluster at the same moment.
      if (error instanceof ConflictException)
        throw new RedoubtError('ServiceUnavailable', `the schedule of ${cluster} is being changed`, { cause: error });
      throw serviceFailure('EventBridge Scheduler', error);
    }
  },

  async remove(cluster) {
    try {
      await client.send(new DeleteScheduleCommand({ Name: scheduleName(cluster), GroupName: group }));
    } catch (error) {
      if (!(error instanceof ResourceNotFoundException)) throw serviceFailure('EventBridge Scheduler', error);
    }
  },
});
