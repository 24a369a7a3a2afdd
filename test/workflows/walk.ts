import jsonata from 'jsonata';
import type { Machine, State } from './read-machine.ts';

/** How a task ends: with a result, or with an error. */
export type Ending = { readonly result: unknown } | { readonly error: string; readonly cause?: string };

export interface Walk {
  /** The states in the order they were entered. */
  readonly path: readonly string[];
  /** What each task was called with, by its state. */
  readonly payloads: Readonly<Record<string, unknown>>;
  readonly end: { readonly output: unknown } | { readonly error: unknown; readonly cause: unknown };
}

type Variables = Readonly<Record<string, unknown>>;

const evaluate = async (expression: string, variables: Variables): Promise<unknown> => {
  const compiled = jsonata(expression.slice(2, -2));
  compiled.registerFunction('parse', (text: string) => JSON.parse(text));
  const value = await compiled.evaluate({}, variables);
  if (value === undefined) throw new Error(`an expression without a value: ${expression}`);
  return JSON.parse(JSON.stringify(value));
};

/** Evaluates every expression in a value; one without a value is an error, as in Step Functions. */
const render = async (value: unknown, variables: Variables): Promise<unknown> => {
  if (typeof value === 'string')
    return value.startsWith('{%') && value.endsWith('%}') ? evaluate(value, variables) : value;
  if (Array.isArray(value)) return Promise.all(value.map((item) => render(item, variables)));
  if (typeof value !== 'object' || value === null) return value;
  const entries = await Promise.all(
    Object.entries(value).map(async ([key, item]) => [key, await render(item, variables)] as const),
  );
  return Object.fromEntries(entries);
};

const catches = (names: readonly string[], error: string): boolean =>
  names.includes(error) || names.includes('States.ALL');

/**
 * Walks a state machine, with `endings` for its tasks: a state without one has the result `{}`. Retries are over already. Evaluates
 * every expression on the way.
 */
export const walk = async (
  machine: Machine,
  input: unknown,
  endings: Readonly<Record<string, Ending>> = {},
): Promise<Walk> => {
  const path: string[] = [];
  const payloads: Record<string, unknown> = {};
  const variables: Record<string, unknown> = {};
  let current = machine.StartAt;
  let passed = input;
  for (;;) {
    if (path.includes(current)) throw new Error(`${current} is entered twice`);
    path.push(current);
    const state = machine.States[current] as State;
    const states = {
      input: passed,
      context: {
        Execution: {
          Id: 'arn:aws:states:execution',
          Name: 'run-1',
          Input: input,
          StartTime: '2026-11-22T05:12:10.000Z',
        },
        Task: { Token: `token-of-${current}` },
      },
    };
    const scope = (more: object = {}) => ({ ...variables, states: { ...states, ...more } });
    switch (state.Type) {
      case 'Succeed':
        return { path, payloads, end: { output: await render(state.Output ?? passed, scope()) } };
      case 'Fail':
        return {
          path,
          payloads,
          end: { error: await render(state.Error, scope()), cause: await render(state.Cause, scope()) },
        };
      case 'Choice': {
        let next = state.Default;
        for (const choice of state.Choices ?? []) {
          if ((await render(choice.Condition, scope())) === true) {
            next = choice.Next;
            break;
          }
        }
        current = next ?? 'no choice matched';
        break;
      }
      case 'Task': {
        payloads[current] = await render(state.Arguments?.Payload ?? state.Arguments?.Message, scope());
        const seconds = [state.TimeoutSeconds, state.HeartbeatSeconds].filter((limit) => limit !== undefined);
        for (const limit of await Promise.all(seconds.map((each) => render(each, scope()))))
          if (!Number.isInteger(limit)) throw new Error(`${current} has the limit ${limit}`);
        const ending = endings[current] ?? { result: {} };
        if ('result' in ending) {
          Object.assign(variables, await render(state.Assign ?? {}, scope({ result: ending.result })));
          passed = ending.result;
          current = state.Next ?? 'nowhere';
        } else {
          const catcher = state.Catch?.find(({ ErrorEquals }) => catches(ErrorEquals, ending.error));
          if (!catcher) return { path, payloads, end: { error: ending.error, cause: ending.cause } };
          const errorOutput = { Error: ending.error, ...(ending.cause !== undefined && { Cause: ending.cause }) };
          Object.assign(variables, await render(catcher.Assign ?? {}, scope({ errorOutput })));
          passed = errorOutput;
          current = catcher.Next;
        }
      }
    }
  }
};
