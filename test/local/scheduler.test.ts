import {
  CreateScheduleCommand,
  CreateScheduleGroupCommand,
  DeleteScheduleCommand,
  DeleteScheduleGroupCommand,
  GetScheduleCommand,
  GetScheduleGroupCommand,
  ListScheduleGroupsCommand,
  ListSchedulesCommand,
  SchedulerClient,
  UpdateScheduleCommand,
} from '@aws-sdk/client-scheduler';
import { DescribeExecutionCommand, ListExecutionsCommand, SFNClient } from '@aws-sdk/client-sfn';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseScheduleExpression } from '#local/cloud/scheduler/schedule-expression.ts';
import { clientOptions, eventually, startFixtureCloud, stateMachine } from './template-fixture.ts';

const machineArn = (name: string) => `arn:aws:states:us-east-1:000000000000:stateMachine:${name}`;
const succeed = { StartAt: 'A', States: { A: { Type: 'Succeed' } } };

let cloud: Awaited<ReturnType<typeof startFixtureCloud>>;
let scheduler: SchedulerClient;
let sfn: SFNClient;
beforeAll(async () => {
  cloud = await startFixtureCloud({
    ...Object.fromEntries(['once', 'often', 'never', 'templated'].map((name) => [name, stateMachine(name, succeed)])),
    Group: { Type: 'AWS::Scheduler::ScheduleGroup', Properties: { Name: 'clusters' } },
    Nightly: {
      Type: 'AWS::Scheduler::Schedule',
      Properties: {
        Name: 'nightly',
        GroupName: { Ref: 'Group' },
        ScheduleExpression: 'rate(1 day)',
        FlexibleTimeWindow: { Mode: 'OFF' },
        State: 'ENABLED',
        Target: {
          Arn: { Ref: 'templated' },
          RoleArn: 'arn:aws:iam::000000000000:role/scheduler',
          Input: '{"kind":"auto"}',
        },
      },
    },
  });
  scheduler = new SchedulerClient(clientOptions(cloud));
  sfn = new SFNClient(clientOptions(cloud));
});
afterAll(() => cloud[Symbol.asyncDispose]());

const schedule = (Name: string, ScheduleExpression: string, machine: string, more: object = {}) => ({
  Name,
  ScheduleExpression,
  FlexibleTimeWindow: { Mode: 'OFF' as const },
  Target: {
    Arn: machineArn(machine),
    RoleArn: 'arn:aws:iam::000000000000:role/scheduler',
    Input: '{"at":"<aws.scheduler.scheduled-time>","arn":"<aws.scheduler.schedule-arn>"}',
  },
  ...more,
});

const executionsOf = async (machine: string) =>
  (await sfn.send(new ListExecutionsCommand({ stateMachineArn: machineArn(machine) }))).executions ?? [];

const inputOf = async (executionArn: string | undefined) =>
  JSON.parse((await sfn.send(new DescribeExecutionCommand({ executionArn }))).input ?? '');

describe('schedules', () => {
  test('fire once at their time, with the context attributes filled in, and go away if asked to', async () => {
    const time = new Date(Math.ceil(Date.now() / 1000) * 1000 + 1000).toISOString().slice(0, 19);
    const { ScheduleArn } = await scheduler.send(
      new CreateScheduleCommand(schedule('single', `at(${time})`, 'once', { ActionAfterCompletion: 'DELETE' })),
    );
    const execution = await eventually(async () => (await executionsOf('once'))[0]);
    expect(Number(execution.startDate)).toBeGreaterThanOrEqual(Date.parse(`${time}Z`));
    expect(await inputOf(execution.executionArn)).toEqual({ at: `${time}Z`, arn: ScheduleArn });
    await expect(scheduler.send(new GetScheduleCommand({ Name: 'single' }))).rejects.toMatchObject({
      name: 'ResourceNotFoundException',
    });
  });

  test('a rate begins with its start date, or at once', async () => {
    await scheduler.send(new CreateScheduleCommand(schedule('often', 'rate(1 minute)', 'often')));
    await eventually(async () => (await executionsOf('often'))[0]);
    await scheduler.send(new DeleteScheduleCommand({ Name: 'often' }));
  });

  test('one of a template fires too', async () => {
    const execution = await eventually(async () => (await executionsOf('templated'))[0]);
    expect(await inputOf(execution.executionArn)).toEqual({ kind: 'auto' });
  });

  test('can be disabled, changed, listed and deleted', async () => {
    const time = new Date(Date.now() + 1500).toISOString().slice(0, 19);
    const request = schedule('changing', `at(${time})`, 'never');
    await scheduler.send(new CreateScheduleCommand(request));
    await expect(scheduler.send(new CreateScheduleCommand(request))).rejects.toMatchObject({
      name: 'ConflictException',
    });
    await scheduler.send(new UpdateScheduleCommand({ ...request, State: 'DISABLED', Description: 'paused' }));
    const found = await scheduler.send(new GetScheduleCommand({ Name: 'changing' }));
    expect(found).toMatchObject({
      Arn: 'arn:aws:scheduler:us-east-1:000000000000:schedule/default/changing',
      GroupName: 'default',
      State: 'DISABLED',
      Description: 'paused',
      ScheduleExpression: `at(${time})`,
      ScheduleExpressionTimezone: 'UTC',
    });
    expect(found.CreationDate?.getTime()).toBeGreaterThan(Date.now() - 60_000);
    const listed = await scheduler.send(new ListSchedulesCommand({ NamePrefix: 'chang', State: 'DISABLED' }));
    expect(listed.Schedules).toMatchObject([{ Name: 'changing', Target: { Arn: machineArn('never') } }]);
    await new Promise((resolve) => setTimeout(resolve, 1700));
    expect(await executionsOf('never')).toEqual([]);
    await scheduler.send(new DeleteScheduleCommand({ Name: 'changing' }));
    await expect(scheduler.send(new DeleteScheduleCommand({ Name: 'changing' }))).rejects.toMatchObject({
      name: 'ResourceNotFoundException',
    });
  });

  test('live in groups, and go with them', async () => {
    await scheduler.send(new CreateScheduleGroupCommand({ Name: 'shop' }));
    expect((await scheduler.send(new ListScheduleGroupsCommand({}))).ScheduleGroups?.map(({ Name }) => Name)).toEqual([
      'default',
      'clusters',
      'shop',
    ]);
    await scheduler.send(
      new CreateScheduleCommand(schedule('grouped', 'cron(0 3 * * ? *)', 'never', { GroupName: 'shop' })),
    );
    expect((await scheduler.send(new ListSchedulesCommand({ GroupName: 'shop' }))).Schedules).toHaveLength(1);
    await scheduler.send(new DeleteScheduleGroupCommand({ Name: 'shop' }));
    await expect(scheduler.send(new GetScheduleGroupCommand({ Name: 'shop' }))).rejects.toMatchObject({
      name: 'ResourceNotFoundException',
    });
    await expect(scheduler.send(new GetScheduleCommand({ Name: 'grouped', GroupName: 'shop' }))).rejects.toMatchObject({
      name: 'ResourceNotFoundException',
    });
  });

  test('with an expression that cannot be read are refused', async () => {
    await expect(
      scheduler.send(new CreateScheduleCommand(schedule('wrong', 'cron(0 3 * * * *)', 'never'))),
    ).rejects.toMatchObject({ name: 'ValidationException' });
  });
});

describe('expressions', () => {
  const from = Date.parse('2026-11-22T05:00:00Z'); // a Sunday
  const next = (expression: string, timeZone = 'UTC', at = from) => {
    const time = parseScheduleExpression(expression, timeZone).next(at, from);
    return time === undefined ? undefined : new Date(time).toISOString().replace('.000Z', 'Z');
  };
  test.each([
    ['rate(5 minutes)', 'UTC', '2026-11-22T05:00:00Z'],
    ['cron(0 5 * * ? *)', 'UTC', '2026-11-22T05:00:00Z'],
    ['cron(15 10 ? * 6L *)', 'UTC', '2026-11-27T10:15:00Z'],
    ['cron(0 4 ? * MON-FRI *)', 'UTC', '2026-11-23T04:00:00Z'],
    ['cron(0 4 ? * 1 *)', 'UTC', '2026-11-29T04:00:00Z'],
    ['cron(0 0 L * ? *)', 'UTC', '2026-11-30T00:00:00Z'],
    ['cron(0 9 ? * 2#1 *)', 'UTC', '2026-12-07T09:00:00Z'],
    ['cron(5/20 * * * ? *)', 'UTC', '2026-11-22T05:05:00Z'],
    ['cron(0 0 1 1 ? 2027)', 'UTC', '2027-01-01T00:00:00Z'],
    ['cron(0 0 1 1 ? 2020)', 'UTC', undefined],
    ['cron(0 3 * * ? *)', 'Europe/Berlin', '2026-11-23T02:00:00Z'],
    ['at(2026-11-22T08:00:00)', 'America/New_York', '2026-11-22T13:00:00Z'],
    ['at(2026-07-22T08:00:00)', 'UTC', undefined],
  ])('%s in %s', (expression, timeZone, expected) => {
    expect(next(expression, timeZone)).toBe(expected);
  });

  test('a rate counts from its anchor', () => {
    expect(next('rate(2 hours)', 'UTC', from + 1)).toBe('2026-11-22T07:00:00Z');
  });

  test.each(['rate(0 minutes)', 'rate(5 weeks)', 'cron(* * * *)', 'cron(0 3 ? * ? *)', 'at(tomorrow)', 'every day'])(
    '%s is refused',
    (expression) => {
      expect(() => parseScheduleExpression(expression, 'UTC')).toThrow('Invalid Schedule Expression');
    },
  );
});
