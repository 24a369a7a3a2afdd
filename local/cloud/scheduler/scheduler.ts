import { randomUUID } from 'node:crypto';
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { isJsonObject, type JsonObject } from '../json.ts';
import { accountId, region } from '../principals.ts';
import { AwsError, type Service } from '../service.ts';
import { parseScheduleExpression, type ScheduleExpression } from './schedule-expression.ts';

/** Gives a schedule's target its input. A rejection is retried. */
export type InvokeTarget = (targetArn: string, input: string) => Promise<void>;

export interface SchedulerOptions {
  readonly invokeTarget: InvokeTarget;
  /** Gets `scheduler.jsonl`: every firing and how it went. */
  readonly logDirectory: string;
}

/** A schedule as CreateSchedule takes it; times are seconds since 1970, as on the wire. */
export interface ScheduleRequest {
  readonly ScheduleExpression: string;
  readonly ScheduleExpressionTimezone?: string;
  readonly StartDate?: number;
  readonly EndDate?: number;
  readonly State?: string;
  readonly Description?: string;
  readonly FlexibleTimeWindow: JsonObject;
  readonly ActionAfterCompletion?: string;
  readonly Target: JsonObject & { readonly Arn: string; readonly Input?: string };
}

interface Schedule extends ScheduleRequest {
  readonly Name: string;
  readonly GroupName: string;
  readonly CreationDate: number;
  readonly LastModificationDate: number;
}

interface Entry {
  readonly schedule: Schedule;
  readonly expression: ScheduleExpression;
  timer: NodeJS.Timeout | undefined;
}

/** Node fires a longer timer at once; a schedule that is further away is looked at again by then. */
const longestTimer = 2_000_000_000;
/** AWS tries for up to 24 hours and 185 times; a few quick tries are enough on one machine. */
const retryDelays = [200, 1000, 5000];

/**
 * EventBridge Scheduler. It really fires, in this process: a schedule that was due while the local cloud was down is not made up
 * for, and flexible time windows fire at their start.
 */
export class Scheduler {
  readonly service: Service;
  readonly #invokeTarget: InvokeTarget;
  readonly #log: string;
  readonly #entries = new Map<string, Entry>();
  readonly #groups = new Map<string, number>([['default', Date.now() / 1000]]);
  #closed = false;

  constructor({ invokeTarget, logDirectory }: SchedulerOptions) {
    this.#invokeTarget = invokeTarget;
    mkdirSync(logDirectory, { recursive: true });
    this.#log = join(logDirectory, 'scheduler.jsonl');
    this.service = { signingName: 'scheduler', handle: async (request) => this.#handle(request) };
  }

  addGroup(name: string): void {
    if (this.#groups.has(name)) {
      throw new AwsError('ConflictException', `Schedule group ${name} already exists.`, 409);
    }
    this.#groups.set(name, Date.now() / 1000);
  }

  /** Creates a schedule; throws ConflictException, ValidationException, or ResourceNotFoundException for its group. */
  add(name: string, groupName: string, request: ScheduleRequest): void {
    if (this.#entries.has(`${groupName}/${name}`)) {
      throw new AwsError('ConflictException', `Schedule ${name} already exists.`, 409);
    }
    this.#put(name, groupName, request, Date.now() / 1000);
  }

  /** Nothing fires after this. */
  close(): void {
    this.#closed = true;
    for (const { timer } of this.#entries.values()) {
      clearTimeout(timer);
    }
  }

  #put(name: string, groupName: string, request: ScheduleRequest, created: number): void {
    if (!this.#groups.has(groupName)) {
      throw new AwsError('ResourceNotFoundException', `Schedule group ${groupName} does not exist.`, 404);
    }
    if (!/^[\w.-]{1,64}$/.test(name)) {
      throw new AwsError('ValidationException', `${name} is not a name for a schedule.`);
    }
    if (
      !isJsonObject(request.Target) ||
      typeof request.Target.Arn !== 'string' ||
      !isJsonObject(request.FlexibleTimeWindow)
    ) {
      throw new AwsError('ValidationException', 'Target with its Arn, and FlexibleTimeWindow, are needed.');
    }
    const timeZone = request.ScheduleExpressionTimezone ?? 'UTC';
    let expression: ScheduleExpression;
    try {
      new Intl.DateTimeFormat('en-US', { timeZone });
      expression = parseScheduleExpression(String(request.ScheduleExpression), timeZone);
    } catch (error) {
      throw new AwsError('ValidationException', (error as Error).message);
    }
    const schedule: Schedule = {
      ...request,
      ScheduleExpressionTimezone: timeZone,
      State: request.State ?? 'ENABLED',
      ActionAfterCompletion: request.ActionAfterCompletion ?? 'NONE',
      Name: name,
      GroupName: groupName,
      CreationDate: created,
      LastModificationDate: Date.now() / 1000,
    };
    const key = `${groupName}/${name}`;
    clearTimeout(this.#entries.get(key)?.timer);
    const entry: Entry = { schedule, expression, timer: undefined };
    this.#entries.set(key, entry);
    this.#arm(entry, Date.now());
  }

  /** Waits for the first due time at or after `from`. */
  #arm(entry: Entry, from: number): void {
    const { schedule, expression } = entry;
    if (schedule.State !== 'ENABLED' || this.#closed) {
      return;
    }
    const anchor = (schedule.StartDate ?? schedule.LastModificationDate) * 1000;
    const due = expression.next(Math.max(from, anchor), anchor);
    if (due === undefined || (schedule.EndDate !== undefined && due > schedule.EndDate * 1000)) {
      return;
    }
    const check = () => {
      const left = due - Date.now();
      if (left > 0) {
        entry.timer = setTimeout(check, Math.min(left, longestTimer));
        return;
      }
      if (this.#entries.get(keyOf(schedule)) !== entry) {
        return;
      }
      void this.#fire(schedule, due);
      if (expression.recurring) {
        this.#arm(entry, due + 1);
      } else if (schedule.ActionAfterCompletion === 'DELETE') {
        this.#entries.delete(keyOf(schedule));
      }
    };
    entry.timer = setTimeout(check, Math.max(0, Math.min(due - Date.now(), longestTimer)));
  }

  async #fire(schedule: Schedule, due: number): Promise<void> {
    const executionId = randomUUID();
    const attempts = Number(
      (schedule.Target.RetryPolicy as JsonObject | undefined)?.MaximumRetryAttempts ?? retryDelays.length,
    );
    const delays = retryDelays.slice(0, attempts);
    for (let attempt = 1; !this.#closed; attempt += 1) {
      const attributes: Readonly<Record<string, string>> = {
        'schedule-arn': arnOf(schedule),
        'scheduled-time': new Date(due).toISOString().replace(/\.\d+Z$/, 'Z'),
        'execution-id': executionId,
        'attempt-number': String(attempt),
      };
      const input = (schedule.Target.Input ?? '{}').replaceAll(
        /<aws\.scheduler\.([a-z-]+)>/g,
        (found, name: string) => attributes[name] ?? found,
      );
      const line = {
        time: new Date().toISOString(),
        schedule: schedule.Name,
        target: schedule.Target.Arn,
        input,
        attempt,
      };
      try {
        await this.#invokeTarget(schedule.Target.Arn, input);
        appendFileSync(this.#log, `${JSON.stringify(line)}\n`);
        return;
      } catch (error) {
        appendFileSync(this.#log, `${JSON.stringify({ ...line, failed: String(error) })}\n`);
        const delay = delays[attempt - 1];
        if (delay === undefined) {
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, delay).unref());
      }
    }
  }

  #find(name: string, groupName: string): Entry {
    const entry = this.#entries.get(`${groupName}/${name}`);
    if (entry === undefined) {
      throw new AwsError('ResourceNotFoundException', `Schedule ${name} does not exist.`, 404);
    }
    return entry;
  }

  #handle({ method, url, body }: Parameters<Service['handle']>[0]) {
    const [, resource, encoded] = /^\/(schedules|schedule-groups)(?:\/([^/]+))?$/.exec(url.pathname) ?? [];
    const name = encoded === undefined ? undefined : decodeURIComponent(encoded);
    const input = body.length === 0 ? {} : JSON.parse(body.toString('utf8'));
    const answer = (output: object) => ({
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(output),
    });
    switch (`${method} ${resource}${name === undefined ? '' : '/name'}`) {
      case 'POST schedules/name': {
        const { GroupName: groupName = 'default', ClientToken: _token, ...request } = input;
        this.add(name as string, groupName, request);
        return answer({ ScheduleArn: arnOf(this.#find(name as string, groupName).schedule) });
      }
      case 'PUT schedules/name': {
        const { GroupName: groupName = 'default', ClientToken: _token, ...request } = input;
        // Everything that the request leaves out goes back to its default, as with the real one.
        this.#put(name as string, groupName, request, this.#find(name as string, groupName).schedule.CreationDate);
        return answer({ ScheduleArn: arnOf(this.#find(name as string, groupName).schedule) });
      }
      case 'GET schedules/name': {
        const { schedule } = this.#find(name as string, url.searchParams.get('groupName') ?? 'default');
        return answer({ ...schedule, Arn: arnOf(schedule) });
      }
      case 'DELETE schedules/name': {
        const entry = this.#find(name as string, url.searchParams.get('groupName') ?? 'default');
        clearTimeout(entry.timer);
        this.#entries.delete(keyOf(entry.schedule));
        return answer({});
      }
      case 'GET schedules': {
        const query = (key: string) => url.searchParams.get(key);
        const schedules = [...this.#entries.values()]
          .map(({ schedule }) => schedule)
          .filter(({ GroupName: group }) => query('ScheduleGroup') === null || group === query('ScheduleGroup'))
          .filter(({ Name: one }) => one.startsWith(query('NamePrefix') ?? ''))
          .filter(({ State: state }) => query('State') === null || state === query('State'))
          .map((schedule) => ({
            Arn: arnOf(schedule),
            Name: schedule.Name,
            GroupName: schedule.GroupName,
            State: schedule.State,
            CreationDate: schedule.CreationDate,
            LastModificationDate: schedule.LastModificationDate,
            Target: { Arn: schedule.Target.Arn },
          }));
        return answer({ Schedules: schedules });
      }
      case 'POST schedule-groups/name':
        this.addGroup(name as string);
        return answer({ ScheduleGroupArn: groupArn(name as string) });
      case 'GET schedule-groups/name':
        return answer(this.#describeGroup(name as string));
      case 'DELETE schedule-groups/name':
        this.#describeGroup(name as string);
        this.#groups.delete(name as string);
        for (const [key, { schedule, timer }] of this.#entries) {
          if (schedule.GroupName === name) {
            clearTimeout(timer);
            this.#entries.delete(key);
          }
        }
        return answer({});
      case 'GET schedule-groups':
        return answer({ ScheduleGroups: [...this.#groups.keys()].map((group) => this.#describeGroup(group)) });
      default:
        throw new AwsError(
          'UnknownOperationException',
          `The local Scheduler does not know ${method} ${url.pathname}.`,
          404,
        );
    }
  }

  #describeGroup(name: string): object {
    const created = this.#groups.get(name);
    if (created === undefined) {
      throw new AwsError('ResourceNotFoundException', `Schedule group ${name} does not exist.`, 404);
    }
    return { Name: name, Arn: groupArn(name), State: 'ACTIVE', CreationDate: created, LastModificationDate: created };
  }
}

const keyOf = ({ GroupName: group, Name: name }: Schedule): string => `${group}/${name}`;

const arnOf = ({ GroupName: group, Name: name }: Schedule): string =>
  `arn:aws:scheduler:${region}:${accountId}:schedule/${group}/${name}`;

const groupArn = (name: string): string => `arn:aws:scheduler:${region}:${accountId}:schedule-group/${name}`;
