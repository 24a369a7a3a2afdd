import jsonata from 'jsonata';
import { beforeAll, describe, expect, it } from 'vitest';
import { errorCodes, fallbackErrors, isErrorCode } from '#core/errors.ts';
import { SYNTH_MILLISECONDS } from '#test/infra/synthesize.ts';
import { calledBy, type Machine, readMachine, type State } from './read-machine.ts';

const names = ['redoubt-back-up', 'redoubt-restore'] as const;
const machines = {} as Record<(typeof names)[number], Machine>;

beforeAll(async () => {
  for (const name of names) machines[name] = await readMachine(name);
}, SYNTH_MILLISECONDS);

/** Every string in a value. */
const textsIn = (value: unknown): readonly string[] =>
  typeof value === 'string'
    ? [value]
    : typeof value === 'object' && value !== null
      ? Object.values(value).flatMap(textsIn)
      : [];

const tasksOf = (name: (typeof names)[number]): readonly (readonly [string, State])[] =>
  Object.entries(machines[name].States).filter(([, { Type }]) => Type === 'Task');

const nextOf = ({ Next, Default, Choices = [], Catch = [] }: State): readonly string[] =>
  [Next, Default, ...Choices.map((choice) => choice.Next), ...Catch.map((catcher) => catcher.Next)].filter(
    (next) => next !== undefined,
  );

describe.each(names)('the state machine %s', (name) => {
  it('is in JSONata throughout', () => {
    expect(machines[name].QueryLanguage).toBe('JSONata');
    for (const state of Object.values(machines[name].States)) expect(state).not.toHaveProperty('QueryLanguage');
  });

  it('has expressions that JSONata can read, and at least one in each state but a plain end', () => {
    for (const [state, definition] of Object.entries(machines[name].States)) {
      const expressions = textsIn(definition).filter((text) => text.startsWith('{%'));
      expect(expressions.length, state).toBeGreaterThan(0);
      for (const expression of expressions) {
        expect(expression.endsWith('%}'), expression).toBe(true);
        expect(() => jsonata(expression.slice(2, -2)), expression).not.toThrow();
      }
    }
  });

  it('has no loop: whatever happens, it comes to its end', () => {
    const visit = (state: string, path: readonly string[]): void => {
      expect(path).not.toContain(state);
      const definition = machines[name].States[state];
      expect(definition, state).toBeDefined();
      for (const next of definition ? nextOf(definition) : []) visit(next, [...path, state]);
    };
    visit(machines[name].StartAt, []);
  });

  it('reaches each of its states', () => {
    const reached = new Set<string>();
    const visit = (state: string): void => {
      if (reached.has(state)) return;
      reached.add(state);
      for (const next of nextOf(machines[name].States[state] as State)) visit(next);
    };
    visit(machines[name].StartAt);
    expect([...reached].sort()).toEqual(Object.keys(machines[name].States).sort());
  });

  it('retries what Lambda itself could not do, in every task that calls a function', () => {
    for (const [state, definition] of tasksOf(name)) {
      if (calledBy(definition) === 'sns') continue;
      expect(definition.Retry?.[0]?.ErrorEquals, state).toEqual([
        'Lambda.ServiceException',
        'Lambda.AWSLambdaException',
        'Lambda.SdkClientException',
        'Lambda.TooManyRequestsException',
      ]);
    }
  });

  it('waits out outages, but never by asking the host again', () => {
    for (const [state, definition] of tasksOf(name)) {
      const waits = definition.Retry?.some(({ ErrorEquals }) => ErrorEquals.includes('CatalogUnavailable')) ?? false;
      expect(waits, state).toBe(!['AskHost', 'sns'].includes(calledBy(definition)));
    }
  });

  it('waits as long as the comment beside the retry says', () => {
    const total = ({ IntervalSeconds, MaxAttempts, BackoffRate }: NonNullable<State['Retry']>[number]) =>
      Array.from({ length: MaxAttempts }, (_, attempt) => IntervalSeconds * BackoffRate ** attempt).reduce(
        (sum, wait) => sum + wait,
      );
    for (const [, { Retry = [] }] of tasksOf(name)) {
      for (const retrier of Retry)
        expect(total(retrier)).toBe(retrier.ErrorEquals[0]?.startsWith('Lambda.') ? 126 : 155);
    }
  });

  it('has no error name that nobody throws', () => {
    const caught = Object.values(machines[name].States).flatMap(({ Retry = [], Catch = [] }) =>
      [...Retry, ...Catch].flatMap(({ ErrorEquals }) => ErrorEquals),
    );
    for (const error of caught) expect(isErrorCode(error) || /^(States|Lambda)\./.test(error), error).toBe(true);
  });

  it('leads every error of every task to the settling of the run, but for a fallback and for the settling itself', () => {
    const others = ['States.Timeout', 'States.HeartbeatTimeout', 'States.TaskFailed', 'Lambda.Unknown', 'Whatever'];
    for (const [state, { Catch = [] }] of tasksOf(name)) {
      if (state.startsWith('Settle')) continue;
      for (const error of [...errorCodes, ...others]) {
        const next = Catch.find(({ ErrorEquals }) => ErrorEquals.includes(error) || ErrorEquals.includes('States.ALL'));
        const fallsBack = state === 'Ask the host to back up' && fallbackErrors.includes(error as never);
        expect(next?.Next, `${error} in ${state}`).toBe(fallsBack ? 'Plan a full instead' : 'Settle the failed run');
      }
    }
  });

  it('fails even where the run could not be settled', () => {
    const { Catch, Next } = machines[name].States['Settle the failed run'] as State;
    expect(Catch).toEqual([expect.objectContaining({ ErrorEquals: ['States.ALL'], Next })]);
    expect(machines[name].States[Next ?? '']?.Type).toBe('Fail');
  });

  it('leaves a settling that fails after a success to the rule on failed executions', () => {
    expect(machines[name].States['Settle the run']).not.toHaveProperty('Catch');
  });

  it('outlasts the longest task there can be', () => {
    const approval = 24 * 3600;
    const command = 48 * 3600;
    expect(machines[name].TimeoutSeconds).toBeGreaterThan(approval + command);
  });
});
