import {
  ConflictException,
  CreateScheduleCommand,
  DeleteScheduleCommand,
  ResourceNotFoundException,
  SchedulerClient,
  UpdateScheduleCommand,
  ValidationException,
} from '@aws-sdk/client-scheduler';
import { mockClient } from 'aws-sdk-client-mock';
import { beforeEach, describe, expect, it } from 'vitest';
import { backupRequestSchema } from '#core/run-requests.ts';
import { eventbridgeSchedules } from '#functions/adapters/eventbridge-schedules.ts';
import { SHOP } from '../../doubles/sample-manifest.ts';

const scheduler = mockClient(SchedulerClient);
beforeEach(() => {
  scheduler.reset();
});

const fault = { $metadata: {}, message: 'Invalid Schedule Expression cron(99 * * * ? *).', Message: '' };
const schedules = eventbridgeSchedules(
  { group: 'redoubt', role: 'arn:role', stateMachine: 'arn:back-up' },
  new SchedulerClient({ region: 'us-east-1' }),
);
const put = () => schedules.put({ cluster: SHOP, expression: 'rate(6 hours)', timezone: 'Europe/Berlin' });

describe('schedules', () => {
  it('start a backup of their cluster by the state machine, at the time named and not around it', async () => {
    scheduler.on(UpdateScheduleCommand).resolves({});
    expect(await put()).toBe('redoubt-shop');
    const { input } = scheduler.commandCalls(UpdateScheduleCommand)[0]?.args[0] ?? {};
    expect(input).toMatchObject({
      Name: 'redoubt-shop',
      GroupName: 'redoubt',
      ScheduleExpression: 'rate(6 hours)',
      ScheduleExpressionTimezone: 'Europe/Berlin',
      FlexibleTimeWindow: { Mode: 'OFF' },
      Target: { Arn: 'arn:back-up', RoleArn: 'arn:role' },
    });
    const request = JSON.parse(input?.Target?.Input ?? '');
    expect(backupRequestSchema.parse(request)).toEqual({ cluster: SHOP, kind: 'auto', reason: 'schedule' });
  });

  it('are created where they are not there yet', async () => {
    scheduler.on(UpdateScheduleCommand).rejects(new ResourceNotFoundException(fault));
    scheduler.on(CreateScheduleCommand).resolves({});
    await put();
    expect(scheduler.commandCalls(CreateScheduleCommand)).toHaveLength(1);
  });

  it('are the file’s fault where the scheduler does not accept them', async () => {
    scheduler.on(UpdateScheduleCommand).rejects(new ValidationException(fault));
    await expect(put()).rejects.toMatchObject({
      name: 'InvalidClusterFile',
      detail: expect.stringContaining('rate(6 hours) in Europe/Berlin'),
    });
  });

  it.each([new ConflictException(fault), new Error('socket hang up')])('may be tried again after %o', async (error) => {
    scheduler.on(UpdateScheduleCommand).rejects(error);
    await expect(put()).rejects.toMatchObject({ name: 'ServiceUnavailable' });
  });

  it('are removed, also when they are gone already', async () => {
    scheduler
      .on(DeleteScheduleCommand)
      .resolvesOnce({})
      .rejectsOnce(new ResourceNotFoundException(fault))
      .rejects(new Error());
    await expect(schedules.remove(SHOP)).resolves.toBeUndefined();
    await expect(schedules.remove(SHOP)).resolves.toBeUndefined();
    await expect(schedules.remove(SHOP)).rejects.toMatchObject({ name: 'ServiceUnavailable' });
  });
});
