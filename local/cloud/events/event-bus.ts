import { randomUUID } from 'node:crypto';
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { isJsonObject, type Json, type JsonObject } from '../json.ts';
import { accountId, region } from '../principals.ts';
import { AwsError, awsJson, type Service } from '../service.ts';
import { checkPattern, matchesPattern } from './event-pattern.ts';
import { type InputShape, targetInput } from './target-input.ts';

/** An event that an emulated AWS service emits on the default bus. */
export interface AwsEvent {
  readonly source: `aws.${string}`;
  readonly detailType: string;
  readonly resources?: readonly string[];
  readonly detail: JsonObject;
}

export type EmitEvent = (event: AwsEvent) => void;

export interface RuleTarget extends InputShape {
  readonly Id: string;
  readonly Arn: string;
  readonly RetryPolicy?: { readonly MaximumRetryAttempts?: number };
}

export interface Rule {
  readonly arn: string;
  readonly name: string;
  readonly pattern: JsonObject;
  readonly enabled: boolean;
  readonly targets: readonly RuleTarget[];
}

/** Gives a target its input. A rejection is retried. Null when targets of this kind are not delivered to locally. */
export type Deliver = (targetArn: string, input: string) => Promise<void> | null;

export interface EventBusOptions {
  readonly deliver: Deliver;
  /** Gets `events.jsonl`: every event with the rules it matched, and every delivery that failed. */
  readonly logDirectory: string;
}

interface PutEventsAnswer {
  readonly FailedEntryCount: number;
  readonly Entries: readonly {
    readonly EventId?: string;
    readonly ErrorCode?: string;
    readonly ErrorMessage?: string;
  }[];
}

/** AWS retries for 24 hours, up to 185 times, with growing delays; a few quick tries are enough on one machine. */
const retryDelays = [200, 1000, 5000];

/** The default event bus. Delivery is asynchronous and at least once; events are not ordered. */
export class EventBus {
  readonly service: Service;
  readonly #deliver: Deliver;
  readonly #log: string;
  readonly #rules = new Map<string, Rule>();
  readonly #closing = new AbortController();

  constructor({ deliver, logDirectory }: EventBusOptions) {
    this.#deliver = deliver;
    mkdirSync(logDirectory, { recursive: true });
    this.#log = join(logDirectory, 'events.jsonl');
    this.service = awsJson('events', {
      PutEvents: async ({ Entries }) => this.putEvents(Entries ?? []),
      TestEventPattern: async ({ EventPattern, Event }) => ({
        Result: matchesPattern(JSON.parse(EventPattern), JSON.parse(Event)),
      }),
      ListRules: async ({ NamePrefix = '' }) => ({
        Rules: [...this.#rules.values()]
          .filter(({ name }) => name.startsWith(NamePrefix))
          .map(({ arn, name, pattern, enabled }) => ({
            Arn: arn,
            Name: name,
            EventPattern: JSON.stringify(pattern),
            State: enabled ? 'ENABLED' : 'DISABLED',
            EventBusName: 'default',
          })),
      }),
    });
  }

  /** Throws UnsupportedPattern at once, not at the first event. */
  addRule(rule: Rule): void {
    checkPattern(rule.pattern);
    this.#rules.set(rule.arn, rule);
  }

  readonly emit: EmitEvent = ({ source, detailType, resources = [], detail }) => {
    this.#publish(randomUUID(), { source, 'detail-type': detailType, resources, detail });
  };

  /** What `events:PutEvents` does: entries are judged one by one, and only AWS services may use a source that begins with `aws.`. */
  putEvents(entries: readonly JsonObject[]): PutEventsAnswer {
    const answers = entries.map((entry) => {
      const refused = refusal(entry);
      if (refused !== undefined) {
        return refused;
      }
      const id = randomUUID();
      const { Source: source, DetailType: detailType, Detail: detail, Resources: resources, Time: time } = entry;
      this.#publish(id, {
        source: source ?? '',
        'detail-type': detailType ?? '',
        resources: resources ?? [],
        detail: JSON.parse(String(detail)) as Json,
        ...(typeof time === 'number' ? { time: isoSeconds(new Date(time * 1000)) } : {}),
      });
      return { EventId: id };
    });
    return { FailedEntryCount: answers.filter((answer) => 'ErrorCode' in answer).length, Entries: answers };
  }

  /** No delivery is tried again after this. */
  close(): void {
    this.#closing.abort();
  }

  #publish(id: string, fields: JsonObject): void {
    const event: JsonObject = {
      version: '0',
      id,
      account: accountId,
      time: isoSeconds(new Date()),
      region,
      ...fields,
    };
    const matched = [...this.#rules.values()].filter(
      ({ enabled, pattern }) => enabled && matchesPattern(pattern, event),
    );
    this.#write({ event, rules: matched.map(({ name }) => name) });
    for (const rule of matched) {
      for (const target of rule.targets) {
        void this.#deliverTo(rule, target, targetInput(target, event, rule.arn));
      }
    }
  }

  async #deliverTo(rule: Rule, target: RuleTarget, input: string): Promise<void> {
    const delays = retryDelays.slice(0, target.RetryPolicy?.MaximumRetryAttempts ?? retryDelays.length);
    for (let attempt = 0; !this.#closing.signal.aborted; attempt += 1) {
      try {
        const delivery = this.#deliver(target.Arn, input);
        if (delivery === null) {
          this.#write({
            rule: rule.name,
            target: target.Arn,
            input,
            notDelivered: 'Targets of this kind do not exist locally.',
          });
        }
        await delivery;
        return;
      } catch (error) {
        this.#write({ rule: rule.name, target: target.Arn, attempt, failed: String(error) });
        const delay = delays[attempt];
        if (delay === undefined) {
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, delay).unref());
      }
    }
  }

  #write(line: object): void {
    appendFileSync(this.#log, `${JSON.stringify(line)}\n`);
  }
}

/** EventBridge's times have no fraction. */
const isoSeconds = (date: Date): string => date.toISOString().replace(/\.\d+Z$/, 'Z');

const refusal = (entry: JsonObject): { readonly ErrorCode: string; readonly ErrorMessage: string } | undefined => {
  const { Source: source, DetailType: detailType, Detail: detail, EventBusName: busName } = entry;
  if (busName !== undefined && busName !== 'default' && !String(busName).endsWith(':event-bus/default')) {
    throw new AwsError(
      'ResourceNotFoundException',
      `The local cloud has the default event bus only, not ${String(busName)}.`,
    );
  }
  for (const [name, value] of Object.entries({ Source: source, DetailType: detailType, Detail: detail })) {
    if (typeof value !== 'string' || value === '') {
      return {
        ErrorCode: 'InvalidArgument',
        ErrorMessage: `Parameter ${name} is not valid. Reason: ${name} is a required argument.`,
      };
    }
  }
  if (String(source).startsWith('aws.')) {
    return { ErrorCode: 'NotAuthorizedForSourceException', ErrorMessage: 'Not authorized for the source.' };
  }
  try {
    if (isJsonObject(JSON.parse(String(detail)))) {
      return undefined;
    }
  } catch {
    // Said below, as for JSON that is not an object.
  }
  return { ErrorCode: 'MalformedDetail', ErrorMessage: 'Detail is malformed.' };
};
