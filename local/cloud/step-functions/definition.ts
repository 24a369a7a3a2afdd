import { isJsonObject, type Json, type JsonObject } from '../json.ts';
import { checkSyntax, expressionIn } from './evaluate.ts';
import { readResource } from './resource.ts';

export interface Retrier {
  readonly ErrorEquals: readonly string[];
  readonly IntervalSeconds?: number;
  readonly MaxAttempts?: number;
  readonly BackoffRate?: number;
  readonly MaxDelaySeconds?: number;
  readonly JitterStrategy?: 'FULL' | 'NONE';
}

export interface Catcher {
  readonly ErrorEquals: readonly string[];
  readonly Next: string;
  readonly Assign?: JsonObject;
  readonly Output?: Json;
}

interface Common {
  readonly Comment?: string;
  readonly Next?: string;
  readonly End?: boolean;
  readonly Assign?: JsonObject;
  readonly Output?: Json;
}

interface Guarded extends Common {
  readonly Retry?: readonly Retrier[];
  readonly Catch?: readonly Catcher[];
}

export interface TaskState extends Guarded {
  readonly Type: 'Task';
  readonly Resource: string;
  readonly Arguments?: Json;
  readonly TimeoutSeconds?: number | string;
  readonly HeartbeatSeconds?: number | string;
}

export interface ParallelState extends Guarded {
  readonly Type: 'Parallel';
  readonly Branches: readonly Machine[];
  readonly Arguments?: Json;
}

export interface MapState extends Guarded {
  readonly Type: 'Map';
  readonly ItemProcessor: Machine & { readonly ProcessorConfig?: { readonly Mode?: string } };
  readonly Items?: Json;
  readonly ItemSelector?: Json;
  readonly MaxConcurrency?: number | string;
}

export interface ChoiceState extends Common {
  readonly Type: 'Choice';
  readonly Choices: readonly {
    readonly Condition: string | boolean;
    readonly Next: string;
    readonly Assign?: JsonObject;
    readonly Output?: Json;
  }[];
  readonly Default?: string;
}

export interface PassState extends Common {
  readonly Type: 'Pass';
}

export interface WaitState extends Common {
  readonly Type: 'Wait';
  readonly Seconds?: number | string;
  readonly Timestamp?: string;
}

export interface SucceedState extends Common {
  readonly Type: 'Succeed';
}

export interface FailState {
  readonly Type: 'Fail';
  readonly Comment?: string;
  readonly Error?: string;
  readonly Cause?: string;
}

export type State =
  | TaskState
  | ParallelState
  | MapState
  | ChoiceState
  | PassState
  | WaitState
  | SucceedState
  | FailState;

/** A set of states with its start: a whole definition, a branch, or a Map's item processor. */
export interface Machine {
  readonly StartAt: string;
  readonly States: Readonly<Record<string, State>>;
}

export interface Definition extends Machine {
  readonly Comment?: string;
  readonly QueryLanguage?: string;
  readonly TimeoutSeconds?: number;
}

export class InvalidDefinition extends Error {
  override readonly name = 'InvalidDefinition';
}

const jsonPathFields = ['InputPath', 'OutputPath', 'ResultPath', 'Parameters', 'ResultSelector', 'ItemsPath', 'Result'];

const fieldsOf: Readonly<Record<State['Type'], readonly string[]>> = {
  Task: ['Resource', 'Arguments', 'TimeoutSeconds', 'HeartbeatSeconds', 'Retry', 'Catch', 'Credentials'],
  Parallel: ['Branches', 'Arguments', 'Retry', 'Catch'],
  Map: ['ItemProcessor', 'Items', 'ItemSelector', 'MaxConcurrency', 'Retry', 'Catch', 'Label'],
  Choice: ['Choices', 'Default'],
  Pass: [],
  Wait: ['Seconds', 'Timestamp'],
  Succeed: [],
  Fail: ['Error', 'Cause'],
};
const commonFields = ['Type', 'Comment', 'QueryLanguage', 'Next', 'End', 'Assign', 'Output'];

/**
 * Reads a definition in the Amazon States Language and refuses, by name and place, what this interpreter does not run: the
 * JSONPath query language, unknown fields, states and integrations, dangling transitions, expressions that are not JSONata,
 * and an inner scope that assigns a variable of an outer one (which Step Functions refuses as well).
 */
export const parseDefinition = (text: string): Definition => {
  let definition: unknown;
  try {
    definition = JSON.parse(text);
  } catch (error) {
    throw new InvalidDefinition(`The definition is not JSON: ${(error as Error).message}`);
  }
  if (!isJsonObject(definition)) {
    throw new InvalidDefinition('The definition is not an object.');
  }
  checkMachine(definition, 'the state machine', String(definition.QueryLanguage ?? 'JSONPath'), new Set());
  return definition as unknown as Definition;
};

const checkMachine = (
  machine: JsonObject,
  place: string,
  language: string,
  outerVariables: ReadonlySet<string>,
): void => {
  const { StartAt: startAt, States: states } = machine;
  if (!isJsonObject(states) || typeof startAt !== 'string') {
    throw new InvalidDefinition(`In ${place}: StartAt and States are needed.`);
  }
  const variables = new Set<string>();
  const known = (name: Json | undefined, from: string) => {
    if (typeof name !== 'string' || !Object.hasOwn(states, name)) {
      throw new InvalidDefinition(`In ${place}: ${from} leads to ${JSON.stringify(name)}, which is not a state.`);
    }
  };
  const assigns = (holder: JsonObject, from: string) => {
    for (const name of Object.keys(isJsonObject(holder.Assign) ? holder.Assign : {})) {
      if (outerVariables.has(name)) {
        throw new InvalidDefinition(`In ${place}: ${from} assigns $${name}, which belongs to an outer scope.`);
      }
      if (name === 'states') {
        throw new InvalidDefinition(`In ${place}: ${from} assigns $states, which is reserved.`);
      }
      variables.add(name);
    }
  };
  known(startAt, 'StartAt');

  const nested: { readonly machine: JsonObject; readonly place: string; readonly language: string }[] = [];
  for (const [name, state] of Object.entries(states)) {
    const at = `'${name}'`;
    if (!isJsonObject(state) || !Object.hasOwn(fieldsOf, String(state.Type))) {
      throw new InvalidDefinition(`In ${place}: ${at} is of no known Type.`);
    }
    const type = state.Type as State['Type'];
    const stateLanguage = String(state.QueryLanguage ?? language);
    const jsonPathField = Object.keys(state).find((key) => jsonPathFields.includes(key) || key.endsWith('Path'));
    // A Succeed or a plain Fail means the same in both languages.
    if (jsonPathField !== undefined || (stateLanguage !== 'JSONata' && type !== 'Succeed' && type !== 'Fail')) {
      throw new InvalidDefinition(
        `In ${place}: ${at} uses JSONPath${jsonPathField === undefined ? '' : ` (${jsonPathField})`}; the local Step Functions runs QueryLanguage JSONata only.`,
      );
    }
    const unknown = Object.keys(state).find((key) => !commonFields.includes(key) && !fieldsOf[type].includes(key));
    if (unknown !== undefined) {
      throw new InvalidDefinition(
        `In ${place}: ${at} has ${unknown}, which the local Step Functions does not know for a ${type}.`,
      );
    }
    assigns(state, at);

    if (type === 'Choice') {
      for (const choice of listOf(state.Choices)) {
        known(choice.Next, at);
        assigns(choice, at);
      }
      if (state.Default !== undefined) {
        known(state.Default, at);
      }
    } else if (type !== 'Succeed' && type !== 'Fail' && state.End !== true) {
      known(state.Next, at);
    }
    for (const catcher of listOf(state.Catch)) {
      known(catcher.Next, `${at}, Catch,`);
      assigns(catcher, at);
    }
    if (type === 'Task') {
      readResource(String(state.Resource));
    }
    if (type === 'Parallel') {
      for (const [index, branch] of listOf(state.Branches).entries()) {
        nested.push({ machine: branch, place: `branch ${index} of ${at}`, language: stateLanguage });
      }
    }
    if (type === 'Map') {
      const processor = state.ItemProcessor;
      const mode =
        isJsonObject(processor) && isJsonObject(processor.ProcessorConfig) ? processor.ProcessorConfig.Mode : 'INLINE';
      if (!isJsonObject(processor) || (mode !== undefined && mode !== 'INLINE')) {
        throw new InvalidDefinition(
          `In ${place}: ${at} needs an ItemProcessor in INLINE mode; distributed maps are not run locally.`,
        );
      }
      nested.push({ machine: processor, place: `the items of ${at}`, language: stateLanguage });
    }
    checkExpressions(state, `In ${place}: ${at}`);
  }
  for (const inner of nested) {
    checkMachine(inner.machine, inner.place, inner.language, new Set([...outerVariables, ...variables]));
  }
};

const checkExpressions = ({ Branches: _branches, ItemProcessor: _processor, ...own }: JsonObject, at: string): void => {
  try {
    checkSyntax(own as Json);
  } catch (error) {
    throw new InvalidDefinition(`${at}: ${(error as Error).message}`);
  }
  for (const choice of listOf(own.Choices)) {
    const condition = choice.Condition;
    if (typeof condition !== 'boolean' && (typeof condition !== 'string' || expressionIn(condition) === undefined)) {
      throw new InvalidDefinition(`${at}: a Condition is a boolean or an expression between {% and %}.`);
    }
  }
};

const listOf = (value: Json | undefined): readonly JsonObject[] =>
  Array.isArray(value) ? value.filter(isJsonObject) : [];
