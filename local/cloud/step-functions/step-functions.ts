import { randomUUID } from 'node:crypto';
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { EmitEvent } from '../events/event-bus.ts';
import type { Json, JsonObject } from '../json.ts';
import { region } from '../principals.ts';
import { AwsError, awsJson, type Service } from '../service.ts';
import { type Definition, parseDefinition } from './definition.ts';
import { History, Thread, wireEvent } from './history.ts';
import { type CallResource, interpret } from './interpret.ts';
import { StateError } from './state-error.ts';
import { TaskTokens } from './task-tokens.ts';

type Status = 'RUNNING' | 'SUCCEEDED' | 'FAILED' | 'TIMED_OUT' | 'ABORTED';

interface StateMachine {
  readonly arn: string;
  readonly name: string;
  readonly roleArn: string;
  readonly definition: Definition;
  readonly definitionText: string;
  readonly created: number;
}

/** What `states:StartExecution` answers. */
export interface StartedExecution {
  readonly executionArn: string;
  /** Seconds since 1970. */
  readonly startDate: number;
}

/** Starts an execution for another emulator (a schedule, a rule); throws AwsErrors as the API does. */
export type StartExecution = (stateMachineArn: string, input: string, name?: string) => StartedExecution;

/** How an execution ended. */
type Ending =
  | { readonly status: 'SUCCEEDED'; readonly output: string }
  | {
      readonly status: 'FAILED' | 'ABORTED' | 'TIMED_OUT';
      readonly error: string | undefined;
      readonly cause: string | undefined;
    };

interface Execution {
  readonly arn: string;
  readonly name: string;
  readonly machine: StateMachine;
  readonly input: string;
  /** Milliseconds since 1970. */
  readonly started: number;
  readonly history: History;
  readonly abort: AbortController;
  ending: (Ending & { readonly stopped: number }) | undefined;
  readonly done: Promise<void>;
}

export interface StepFunctionsOptions {
  /** What the Tasks call, for the state machine's role. */
  readonly callResource: (roleArn: string) => CallResource;
  readonly emit: EmitEvent;
  /** Gets `<state machine>.jsonl`: every history event of every execution, in the order they happened. */
  readonly logDirectory: string;
  /** How long a second between two tries of a task lasts; tests shorten it. */
  readonly millisecondsPerRetrySecond?: number;
}

/** Reason with which an execution is stopped from outside its states. */
class Stopped extends Error {
  readonly ending: Ending;

  constructor(ending: Ending) {
    super(ending.status);
    this.ending = ending;
  }
}

/** Characters that an execution's name may not have (API reference, StartExecution). */
const invalidName = /[\s<>{}[\]?*"#%\\^|~`$&,;:/]|\p{Cc}/u;

const epochSeconds = (milliseconds: number): number => milliseconds / 1000;

/**
 * Standard workflows in JSONata, kept in memory: a restart of the local cloud forgets executions, and their tokens with them.
 * Facts come from the Step Functions Developer Guide, the API reference and the Amazon States Language specification.
 */
export class StepFunctions {
  readonly service: Service;
  readonly #options: StepFunctionsOptions;
  readonly #tokens = new TaskTokens();
  readonly #machines = new Map<string, StateMachine>();
  readonly #executions = new Map<string, Execution>();

  constructor(options: StepFunctionsOptions) {
    this.#options = options;
    mkdirSync(options.logDirectory, { recursive: true });
    this.service = this.#createService();
  }

  /** Makes a state machine of a template known. Throws InvalidDefinition with the machine's name. */
  addStateMachine(machine: {
    readonly arn: string;
    readonly name: string;
    readonly roleArn: string;
    readonly definition: string;
  }): void {
    try {
      this.#machines.set(machine.arn, {
        ...machine,
        definition: parseDefinition(machine.definition),
        definitionText: machine.definition,
        created: Date.now(),
      });
    } catch (error) {
      throw Object.assign(error as Error, { message: `State machine ${machine.name}: ${(error as Error).message}` });
    }
  }

  readonly startExecution: StartExecution = (stateMachineArn, input, name = randomUUID()) => {
    const machine = this.#machine(stateMachineArn);
    if (name.length < 1 || name.length > 80 || invalidName.test(name)) {
      throw new AwsError('InvalidName', `Invalid Name: '${name}'`);
    }
    let parsed: Json;
    try {
      parsed = JSON.parse(input) as Json;
    } catch (error) {
      throw new AwsError(
        'InvalidExecutionInput',
        `Invalid State Machine Execution Input: '${(error as Error).message}'`,
      );
    }
    const arn = `${machine.arn.replace(':stateMachine:', ':execution:')}:${name}`;
    const known = this.#executions.get(arn);
    if (known !== undefined) {
      if (known.ending === undefined && known.input === input) {
        return { executionArn: arn, startDate: epochSeconds(known.started) };
      }
      throw new AwsError('ExecutionAlreadyExists', `Execution Already Exists: '${arn}'`);
    }
    const execution = this.#begin(machine, arn, name, input, parsed);
    return { executionArn: arn, startDate: epochSeconds(execution.started) };
  };

  /** Waits for an execution's end; what DescribeExecution would then say. */
  async waitFor(executionArn: string): Promise<JsonObject> {
    const execution = this.#execution(executionArn);
    await execution.done;
    return this.#describe(execution);
  }

  /** Ends an execution as ABORTED and waits until it has; one that has ended stays as it is. */
  async stop(executionArn: string, error?: string, cause?: string): Promise<{ readonly stopDate: number }> {
    const execution = this.#execution(executionArn);
    execution.abort.abort(new Stopped({ status: 'ABORTED', error, cause }));
    await execution.done;
    return { stopDate: epochSeconds(execution.ending?.stopped ?? Date.now()) };
  }

  /** Stops what still runs and waits until it has ended. */
  async close(): Promise<void> {
    const running = [...this.#executions.values()].filter(({ ending }) => ending === undefined);
    for (const { abort } of running) {
      abort.abort(
        new Stopped({ status: 'ABORTED', error: 'LocalCloudClosed', cause: 'The local cloud was shut down.' }),
      );
    }
    await Promise.all(running.map(({ done }) => done));
  }

  #begin(machine: StateMachine, arn: string, name: string, input: string, parsed: Json): Execution {
    const { promise: done, resolve } = Promise.withResolvers<void>();
    const log = join(this.#options.logDirectory, `${machine.name}.jsonl`);
    const execution: Execution = {
      arn,
      name,
      machine,
      input,
      started: Date.now(),
      history: new History((event) =>
        appendFileSync(log, `${JSON.stringify({ execution: name, ...wireEvent(event) })}\n`),
      ),
      abort: new AbortController(),
      ending: undefined,
      done,
    };
    this.#executions.set(arn, execution);
    const thread = new Thread(execution.history);
    thread.record('ExecutionStarted', [
      'executionStartedEventDetails',
      { input, inputDetails: { truncated: false }, roleArn: machine.roleArn },
    ]);
    this.#announce(execution);
    void this.#run(execution, parsed, thread).then(resolve);
    return execution;
  }

  async #run(execution: Execution, input: Json, thread: Thread): Promise<void> {
    const { machine, abort } = execution;
    const limit = machine.definition.TimeoutSeconds;
    const timer =
      limit === undefined
        ? undefined
        : setTimeout(
            () => abort.abort(new Stopped({ status: 'TIMED_OUT', error: undefined, cause: undefined })),
            limit * 1000,
          );
    let ending: Ending;
    try {
      const output = await interpret(machine.definition, input, thread, abort.signal, {
        context: {
          Execution: {
            Id: execution.arn,
            Name: execution.name,
            Input: input,
            StartTime: new Date(execution.started).toISOString(),
            RoleArn: machine.roleArn,
          },
          StateMachine: { Id: machine.arn, Name: machine.name },
        },
        tokens: this.#tokens,
        call: this.#options.callResource(machine.roleArn),
        region,
        millisecondsPerRetrySecond: this.#options.millisecondsPerRetrySecond ?? 1000,
      });
      ending = { status: 'SUCCEEDED', output: JSON.stringify(output) };
    } catch (error) {
      ending =
        error instanceof Stopped
          ? error.ending
          : {
              status: 'FAILED',
              error: error instanceof StateError ? error.error : 'States.Runtime',
              cause: (error as Error).message,
            };
    } finally {
      clearTimeout(timer);
    }
    const type = { SUCCEEDED: 'Succeeded', FAILED: 'Failed', ABORTED: 'Aborted', TIMED_OUT: 'TimedOut' }[ending.status];
    thread.record(`Execution${type}`, [
      `execution${type}EventDetails`,
      ending.status === 'SUCCEEDED'
        ? { output: ending.output, outputDetails: { truncated: false } }
        : {
            ...(ending.error === undefined ? {} : { error: ending.error }),
            ...(ending.cause === undefined ? {} : { cause: ending.cause }),
          },
    ]);
    execution.ending = { ...ending, stopped: Date.now() };
    this.#announce(execution);
  }

  #announce(execution: Execution): void {
    const { executionArn, stateMachineArn, name, status, input, output, error, cause } = this.#describe(execution);
    this.#options.emit({
      source: 'aws.states',
      detailType: 'Step Functions Execution Status Change',
      resources: [execution.arn],
      detail: {
        executionArn: executionArn ?? null,
        stateMachineArn: stateMachineArn ?? null,
        name: name ?? null,
        status: status ?? null,
        startDate: execution.started,
        stopDate: execution.ending?.stopped ?? null,
        input: input ?? null,
        output: output ?? null,
        inputDetails: { included: true },
        outputDetails: output === undefined ? null : { included: true },
        error: error ?? null,
        cause: cause ?? null,
      },
    });
  }

  #describe(execution: Execution): JsonObject & { readonly status: Status } {
    const { ending } = execution;
    return {
      executionArn: execution.arn,
      stateMachineArn: execution.machine.arn,
      name: execution.name,
      status: ending?.status ?? 'RUNNING',
      startDate: epochSeconds(execution.started),
      ...(ending === undefined ? {} : { stopDate: epochSeconds(ending.stopped) }),
      input: execution.input,
      inputDetails: { included: true },
      ...(ending?.status === 'SUCCEEDED' ? { output: ending.output, outputDetails: { included: true } } : {}),
      ...(ending !== undefined && ending.status !== 'SUCCEEDED'
        ? {
            ...(ending.error === undefined ? {} : { error: ending.error }),
            ...(ending.cause === undefined ? {} : { cause: ending.cause }),
          }
        : {}),
      redriveCount: 0,
    };
  }

  #machine(arn: unknown): StateMachine {
    const machine = this.#machines.get(String(arn));
    if (machine === undefined) {
      throw new AwsError('StateMachineDoesNotExist', `State Machine Does Not Exist: '${String(arn)}'`);
    }
    return machine;
  }

  #execution(arn: unknown): Execution {
    const execution = this.#executions.get(String(arn));
    if (execution === undefined) {
      throw new AwsError('ExecutionDoesNotExist', `Execution Does Not Exist: '${String(arn)}'`);
    }
    return execution;
  }

  #createService(): Service {
    const describeMachine = (machine: StateMachine) => ({
      stateMachineArn: machine.arn,
      name: machine.name,
      status: 'ACTIVE',
      definition: machine.definitionText,
      roleArn: machine.roleArn,
      type: 'STANDARD',
      creationDate: epochSeconds(machine.created),
    });
    return awsJson('states', {
      StartExecution: async ({ stateMachineArn, input = '{}', name }) =>
        this.startExecution(stateMachineArn, input, name),
      DescribeExecution: async ({ executionArn }) => this.#describe(this.#execution(executionArn)),
      StopExecution: async ({ executionArn, error, cause }) => this.stop(executionArn, error, cause),
      ListExecutions: async ({ stateMachineArn, statusFilter, maxResults, nextToken }) => {
        const machine = this.#machine(stateMachineArn);
        const executions = [...this.#executions.values()]
          .filter((execution) => execution.machine === machine)
          .map((execution) => this.#describe(execution))
          .filter(({ status }) => statusFilter === undefined || status === statusFilter)
          .reverse()
          .map(({ executionArn, name, status, startDate, stopDate }) => ({
            executionArn,
            stateMachineArn,
            name,
            status,
            startDate,
            stopDate,
          }));
        const page = pageOf(executions, maxResults, nextToken);
        return { executions: page.items, ...page.rest };
      },
      GetExecutionHistory: async ({ executionArn, maxResults, reverseOrder, nextToken, includeExecutionData }) => {
        const { events } = this.#execution(executionArn).history;
        const page = pageOf(reverseOrder === true ? events.toReversed() : events, maxResults, nextToken);
        return { events: page.items.map((event) => wireEvent(event, includeExecutionData ?? true)), ...page.rest };
      },
      DescribeStateMachine: async ({ stateMachineArn }) => describeMachine(this.#machine(stateMachineArn)),
      DescribeStateMachineForExecution: async ({ executionArn }) => {
        const {
          creationDate,
          status: _status,
          type: _type,
          ...machine
        } = describeMachine(this.#execution(executionArn).machine);
        return { ...machine, updateDate: creationDate };
      },
      ListStateMachines: async ({ maxResults, nextToken }) => {
        const page = pageOf([...this.#machines.values()].map(describeMachine), maxResults, nextToken);
        return {
          stateMachines: page.items.map(({ stateMachineArn, name, type, creationDate }) => ({
            stateMachineArn,
            name,
            type,
            creationDate,
          })),
          ...page.rest,
        };
      },
      SendTaskSuccess: async ({ taskToken, output }) => {
        this.#tokens.succeed(taskToken, output);
        return {};
      },
      SendTaskFailure: async ({ taskToken, error, cause }) => {
        this.#tokens.fail(taskToken, error, cause);
        return {};
      },
      SendTaskHeartbeat: async ({ taskToken }) => {
        this.#tokens.heartbeat(taskToken);
        return {};
      },
    });
  }
}

/** One page of a list; the token is the index where the next page begins. */
const pageOf = <T>(
  all: readonly T[],
  maxResults: unknown,
  nextToken: unknown,
): { readonly items: readonly T[]; readonly rest: { readonly nextToken?: string } } => {
  const start = nextToken === undefined ? 0 : Number(nextToken);
  if (!Number.isInteger(start) || start < 0) {
    throw new AwsError('InvalidToken', `Invalid Token: 'Invalid token'`);
  }
  const size = typeof maxResults === 'number' && maxResults > 0 ? Math.min(maxResults, 1000) : 100;
  const end = start + size;
  return { items: all.slice(start, end), rest: end < all.length ? { nextToken: String(end) } : {} };
};
