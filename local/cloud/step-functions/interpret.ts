import { isJsonObject, type Json, type JsonObject } from '../json.ts';
import type {
  Catcher,
  ChoiceState,
  Machine,
  MapState,
  ParallelState,
  Retrier,
  State,
  TaskState,
  WaitState,
} from './definition.ts';
import { evaluate } from './evaluate.ts';
import type { Thread } from './history.ts';
import { namesInHistory, type Resource, readResource } from './resource.ts';
import { StateError } from './state-error.ts';
import type { TaskTokens } from './task-tokens.ts';

/** Does what a Task asks for. Errors are StateErrors; the signal fires when nobody waits for the answer any more. */
export type CallResource = (resource: Resource, input: Json, signal: AbortSignal) => Promise<Json>;

/** All that an execution's states share. */
export interface Interpretation {
  /** The `Execution` and `StateMachine` parts of the context object. */
  readonly context: JsonObject;
  readonly tokens: TaskTokens;
  readonly call: CallResource;
  readonly region: string;
  readonly millisecondsPerRetrySecond: number;
}

interface Scope {
  /** Replaced as a whole by Assign; those of the outer scopes are copied in when a branch begins. */
  variables: Readonly<Record<string, Json>>;
  readonly thread: Thread;
  readonly signal: AbortSignal;
  /** The context object's `Map` part inside a Map's items. */
  readonly item?: JsonObject;
}

interface StateOutcome {
  readonly output: Json;
  readonly next: string | undefined;
}

/** Bytes of UTF-8 that a state's input, output or result may have (Step Functions service quotas). */
const payloadLimit = 262_144;
/** Inline maps run at most this many items at a time when MaxConcurrency leaves it open. */
const inlineMapConcurrency = 40;

/** Runs a whole set of states. Rejects with a StateError, or with the signal's reason when aborted. */
export const interpret = (
  machine: Machine,
  input: Json,
  thread: Thread,
  signal: AbortSignal,
  interpretation: Interpretation,
): Promise<Json> => runMachine(machine, input, { variables: {}, thread, signal }, interpretation);

const runMachine = async (
  machine: Machine,
  input: Json,
  scope: Scope,
  interpretation: Interpretation,
): Promise<Json> => {
  let name: string | undefined = machine.StartAt;
  let data = input;
  while (name !== undefined) {
    scope.signal.throwIfAborted();
    const state: State | undefined = machine.States[name];
    if (state === undefined) {
      throw new StateError('States.Runtime', `There is no state '${name}'.`);
    }
    const outcome = await new StateRun(name, state, data, scope, interpretation).run();
    data = outcome.output;
    name = outcome.next;
  }
  return data;
};

/** One visit of one state. */
class StateRun {
  readonly #name: string;
  readonly #state: State;
  readonly #input: Json;
  readonly #scope: Scope;
  readonly #interpretation: Interpretation;
  readonly #entered = new Date().toISOString();
  #retries = 0;

  constructor(name: string, state: State, input: Json, scope: Scope, interpretation: Interpretation) {
    this.#name = name;
    this.#state = state;
    this.#input = input;
    this.#scope = scope;
    this.#interpretation = interpretation;
  }

  async run(): Promise<StateOutcome> {
    const state = this.#state;
    const { thread } = this.#scope;
    thread.record(`${state.Type}StateEntered`, [
      'stateEnteredEventDetails',
      { name: this.#name, input: JSON.stringify(this.#input), inputDetails: { truncated: false } },
    ]);
    const outcome = await this.#outcomeOf(state);
    thread.record(`${state.Type}StateExited`, [
      'stateExitedEventDetails',
      { name: this.#name, output: JSON.stringify(outcome.output), outputDetails: { truncated: false } },
    ]);
    return outcome;
  }

  #outcomeOf(state: State): Promise<StateOutcome> {
    switch (state.Type) {
      case 'Task':
        return this.#guarded(state, () => this.#task(state));
      case 'Parallel':
        return this.#guarded(state, () => this.#parallel(state));
      case 'Map':
        return this.#guarded(state, () => this.#map(state));
      case 'Choice':
        return this.#choice(state);
      case 'Wait':
        return this.#wait(state);
      case 'Pass':
        return this.#leave(state, state.Next, this.#input, {});
      case 'Succeed':
        return this.#leave(state, undefined, this.#input, {});
      case 'Fail':
        return this.#fail(state);
    }
  }

  #bindings(more: {
    readonly result?: Json;
    readonly errorOutput?: Json;
    readonly token?: string;
    readonly item?: JsonObject;
  }) {
    const { token, item = this.#scope.item, ...states } = more;
    const context: JsonObject = {
      ...this.#interpretation.context,
      State: { Name: this.#name, EnteredTime: this.#entered, RetryCount: this.#retries },
      ...(token === undefined ? {} : { Task: { Token: token } }),
      ...(item === undefined ? {} : { Map: item }),
    };
    return { variables: this.#scope.variables, states: { input: this.#input, context, ...states } };
  }

  /** Output and Assign both see the variables as they were when the state was entered. */
  async #leave(
    holder: { readonly Assign?: JsonObject; readonly Output?: Json },
    next: string | undefined,
    standard: Json,
    results: { readonly result?: Json; readonly errorOutput?: Json },
  ): Promise<StateOutcome> {
    const bindings = this.#bindings(results);
    const assigned = holder.Assign === undefined ? {} : await evaluate(holder.Assign, bindings, 'Assign');
    const output = holder.Output === undefined ? standard : await evaluate(holder.Output, bindings, 'Output');
    limit(output, 'output');
    this.#scope.variables = { ...this.#scope.variables, ...(assigned as JsonObject) };
    return { output, next };
  }

  /** Retry and Catch around the work of a Task, Parallel or Map, its Output and Assign included. */
  async #guarded(state: TaskState | ParallelState | MapState, work: () => Promise<Json>): Promise<StateOutcome> {
    const attempts = new Map<Retrier, number>();
    for (;;) {
      try {
        const result = await work();
        limit(result, 'result');
        return await this.#leave(state, state.Next, result, { result });
      } catch (thrown) {
        this.#scope.signal.throwIfAborted();
        const error = asStateError(thrown);
        const retrier = state.Retry?.find(({ ErrorEquals }) => error.isNamedBy(ErrorEquals));
        const made = retrier === undefined ? 0 : (attempts.get(retrier) ?? 0);
        if (retrier !== undefined && made < (retrier.MaxAttempts ?? 3)) {
          attempts.set(retrier, made + 1);
          await sleep(
            delaySeconds(retrier, made) * this.#interpretation.millisecondsPerRetrySecond,
            this.#scope.signal,
          );
          this.#retries += 1;
          continue;
        }
        const catcher = state.Catch?.find(({ ErrorEquals }) => error.isNamedBy(ErrorEquals));
        if (catcher === undefined) {
          throw error;
        }
        return await this.#caught(catcher, error);
      }
    }
  }

  #caught(catcher: Catcher, error: StateError): Promise<StateOutcome> {
    return this.#leave(catcher, catcher.Next, error.output, { errorOutput: error.output });
  }

  async #task(state: TaskState): Promise<Json> {
    const { thread, signal } = this.#scope;
    const { tokens, call, region } = this.#interpretation;
    const resource = readResource(state.Resource);
    const named = namesInHistory(state.Resource);
    const pending = resource.pattern === 'waitForTaskToken' ? tokens.issue() : undefined;
    const attempt = new AbortController();
    const stop = () => attempt.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    const timers = new Set<NodeJS.Timeout>();
    try {
      const bindings = this.#bindings(pending === undefined ? {} : { token: pending.token });
      const input = await evaluate(state.Arguments ?? this.#input, bindings, 'Arguments');
      limit(input, 'arguments');
      const timeout = await seconds(state.TimeoutSeconds, bindings, 'TimeoutSeconds');
      const heartbeat = await seconds(state.HeartbeatSeconds, bindings, 'HeartbeatSeconds');
      thread.record('TaskScheduled', [
        'taskScheduledEventDetails',
        {
          ...named,
          region,
          parameters: JSON.stringify(input),
          ...(timeout === undefined ? {} : { timeoutInSeconds: timeout }),
          ...(heartbeat === undefined ? {} : { heartbeatInSeconds: heartbeat }),
        },
      ]);
      thread.record('TaskStarted', ['taskStartedEventDetails', named]);

      const { promise: end, reject: endWith } = Promise.withResolvers<never>();
      end.catch(() => undefined);
      attempt.signal.addEventListener('abort', () => endWith(attempt.signal.reason), { once: true });
      if (timeout !== undefined) {
        timers.add(after(timeout * 1000, () => endWith(new StateError('States.Timeout'))));
      }
      if (heartbeat !== undefined && pending !== undefined) {
        let timer: NodeJS.Timeout | undefined;
        const expect = () => {
          clearTimeout(timer);
          timer = after(heartbeat * 1000, () =>
            endWith(new StateError('States.Timeout', '', { heartbeatMissed: true })),
          );
          timers.add(timer);
        };
        expect();
        pending.onHeartbeat(expect);
      }

      const called = call(resource, input, attempt.signal);
      const work =
        pending === undefined
          ? called
          : Promise.race([
              pending.answer,
              called.then((output) => {
                if (!attempt.signal.aborted) {
                  thread.record('TaskSubmitted', [
                    'taskSubmittedEventDetails',
                    { ...named, output: JSON.stringify(output) },
                  ]);
                }
                return pending.answer;
              }),
            ]);
      const output = await Promise.race([work, end]);
      thread.record('TaskSucceeded', [
        'taskSucceededEventDetails',
        { ...named, output: JSON.stringify(output), outputDetails: { truncated: false } },
      ]);
      return output;
    } catch (thrown) {
      signal.throwIfAborted();
      const error = asStateError(thrown);
      const timedOut = error.error === 'States.Timeout';
      thread.record(timedOut ? 'TaskTimedOut' : 'TaskFailed', [
        timedOut ? 'taskTimedOutEventDetails' : 'taskFailedEventDetails',
        { ...named, error: error.error, cause: error.message },
      ]);
      throw error;
    } finally {
      for (const timer of timers) {
        clearTimeout(timer);
      }
      signal.removeEventListener('abort', stop);
      pending?.close();
      // Whatever the call still does, nobody waits for it.
      attempt.abort();
    }
  }

  async #parallel(state: ParallelState): Promise<Json> {
    const input = await evaluate(state.Arguments ?? this.#input, this.#bindings({}), 'Arguments');
    this.#scope.thread.record('ParallelStateStarted');
    const branches = state.Branches.map(
      (branch) => (scope: Scope) => runMachine(branch, input, scope, this.#interpretation),
    );
    const results = await this.#together(branches, branches.length);
    this.#scope.thread.record('ParallelStateSucceeded');
    return results;
  }

  async #map(state: MapState): Promise<Json> {
    const items = await evaluate(state.Items ?? this.#input, this.#bindings({}), 'Items');
    const entries: readonly { readonly Value: Json; readonly Key?: string }[] = Array.isArray(items)
      ? items.map((value: Json) => ({ Value: value }))
      : isJsonObject(items)
        ? Object.entries(items).map(([key, value]) => ({ Key: key, Value: value }))
        : [];
    if (!Array.isArray(items) && !isJsonObject(items)) {
      throw new StateError(
        'States.QueryEvaluationError',
        `Items of '${this.#name}' is neither an array nor an object.`,
      );
    }
    const declared = await evaluate(state.MaxConcurrency ?? 0, this.#bindings({}), 'MaxConcurrency');
    const concurrency = typeof declared === 'number' && declared > 0 ? declared : inlineMapConcurrency;
    const { thread } = this.#scope;
    thread.record('MapStateStarted', ['mapStateStartedEventDetails', { length: entries.length }]);
    const runs = entries.map((entry, index) => async (scope: Scope) => {
      const details = { name: this.#name, index };
      scope.thread.record('MapIterationStarted', ['mapIterationStartedEventDetails', details]);
      const item = { Item: { Index: index, ...entry } };
      try {
        const input =
          state.ItemSelector === undefined
            ? entry.Value
            : await evaluate(state.ItemSelector, this.#bindings({ item }), 'ItemSelector');
        const output = await runMachine(state.ItemProcessor, input, { ...scope, item }, this.#interpretation);
        scope.thread.record('MapIterationSucceeded', ['mapIterationSucceededEventDetails', details]);
        return output;
      } catch (error) {
        scope.thread.record(scope.signal.aborted ? 'MapIterationAborted' : 'MapIterationFailed', [
          scope.signal.aborted ? 'mapIterationAbortedEventDetails' : 'mapIterationFailedEventDetails',
          details,
        ]);
        throw error;
      }
    });
    const results = await this.#together(runs, concurrency);
    thread.record('MapStateSucceeded');
    return results;
  }

  /** Runs branches, at most so many at a time; the first that fails stops the others, and its error is the state's. */
  async #together(branches: readonly ((scope: Scope) => Promise<Json>)[], concurrency: number): Promise<Json[]> {
    const { signal, thread, variables, item } = this.#scope;
    const others = new AbortController();
    const stop = () => others.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    const results: Json[] = new Array(branches.length).fill(null);
    let nextIndex = 0;
    const worker = async () => {
      for (let index = nextIndex++; index < branches.length; index = nextIndex++) {
        others.signal.throwIfAborted();
        const scope: Scope = {
          variables,
          thread: thread.fork(),
          signal: others.signal,
          ...(item === undefined ? {} : { item }),
        };
        results[index] = await (branches[index] as (scope: Scope) => Promise<Json>)(scope);
      }
    };
    try {
      const workers = Array.from({ length: Math.min(concurrency, branches.length) }, worker);
      await Promise.all(workers).catch(async (error) => {
        others.abort(error);
        await Promise.allSettled(workers);
        throw error;
      });
      return results;
    } catch (error) {
      signal.throwIfAborted();
      thread.record(this.#state.Type === 'Map' ? 'MapStateFailed' : 'ParallelStateFailed');
      throw error;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  async #choice(state: ChoiceState): Promise<StateOutcome> {
    for (const [index, choice] of state.Choices.entries()) {
      const verdict = await evaluate(choice.Condition, this.#bindings({}), `Choices[${index}]/Condition`);
      if (typeof verdict !== 'boolean') {
        throw new StateError(
          'States.QueryEvaluationError',
          `The condition '${choice.Condition}' of '${this.#name}' is not a boolean: ${JSON.stringify(verdict)}.`,
        );
      }
      if (verdict) {
        return this.#leave(choice, choice.Next, this.#input, {});
      }
    }
    if (state.Default === undefined) {
      throw new StateError('States.NoChoiceMatched', `No choice of '${this.#name}' matched and it has no Default.`);
    }
    return this.#leave(state, state.Default, this.#input, {});
  }

  async #wait(state: WaitState): Promise<StateOutcome> {
    const bindings = this.#bindings({});
    if (state.Timestamp === undefined) {
      const wait = (await seconds(state.Seconds, bindings, 'Seconds')) ?? 0;
      await sleep(wait * 1000, this.#scope.signal);
    } else {
      const until = Date.parse(String(await evaluate(state.Timestamp, bindings, 'Timestamp')));
      if (Number.isNaN(until)) {
        throw new StateError('States.QueryEvaluationError', `Timestamp of '${this.#name}' is not a time.`);
      }
      await sleep(until - Date.now(), this.#scope.signal);
    }
    return this.#leave(state, state.Next, this.#input, {});
  }

  async #fail(state: State & { readonly Type: 'Fail' }): Promise<never> {
    const bindings = this.#bindings({});
    const error = state.Error === undefined ? '' : await evaluate(state.Error, bindings, 'Error');
    const cause = state.Cause === undefined ? '' : await evaluate(state.Cause, bindings, 'Cause');
    for (const [field, value] of Object.entries({ Error: error, Cause: cause })) {
      if (typeof value !== 'string') {
        throw new StateError('States.QueryEvaluationError', `${field} of '${this.#name}' is not a string.`);
      }
    }
    throw new StateError(String(error), String(cause));
  }
}

const asStateError = (thrown: unknown): StateError =>
  thrown instanceof StateError
    ? thrown
    : new StateError('States.Runtime', thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));

const limit = (data: Json, what: string): void => {
  const size = Buffer.byteLength(JSON.stringify(data));
  if (size > payloadLimit) {
    throw new StateError('States.DataLimitExceeded', `The ${what} has ${size} bytes; ${payloadLimit} is the most.`);
  }
};

/** A number of seconds, given or computed: a whole number from 1 on, for Wait also 0. */
const seconds = async (
  value: number | string | undefined,
  bindings: Parameters<typeof evaluate>[1],
  field: string,
): Promise<number | undefined> => {
  if (value === undefined) {
    return undefined;
  }
  const result = await evaluate(value, bindings, field);
  if (typeof result !== 'number' || !Number.isInteger(result) || result < (field === 'Seconds' ? 0 : 1)) {
    throw new StateError(
      'States.QueryEvaluationError',
      `${field} is not a whole number of seconds: ${JSON.stringify(result)}.`,
    );
  }
  return result;
};

const delaySeconds = (retrier: Retrier, made: number): number => {
  const grown = (retrier.IntervalSeconds ?? 1) * (retrier.BackoffRate ?? 2) ** made;
  const delay = Math.min(grown, retrier.MaxDelaySeconds ?? Number.POSITIVE_INFINITY);
  return retrier.JitterStrategy === 'FULL' ? Math.random() * delay : delay;
};

/** Node fires a longer timer at once. */
const longestTimer = 2_147_483_647;

/** A timer that does not fire early when the delay is longer than a timer can be. */
const after = (milliseconds: number, run: () => void): NodeJS.Timeout =>
  milliseconds > longestTimer ? setTimeout(() => undefined, longestTimer) : setTimeout(run, milliseconds);

const sleep = (milliseconds: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = after(Math.max(0, milliseconds), () => {
      signal.removeEventListener('abort', abort);
      resolve();
    });
    signal.addEventListener('abort', abort, { once: true });
  });
