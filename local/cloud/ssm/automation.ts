import { randomUUID } from 'node:crypto';
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EmitEvent } from '../events/event-bus.ts';
import { accountId, region } from '../principals.ts';
import { AwsError, type Operation } from '../service.ts';
import type { CallApi } from './call-api.ts';
import { type DocumentContent, type DocumentStep, type DocumentStore, readContent } from './document-store.ts';
import { interpolate } from './interpolate.ts';
import { type ParameterValue, resolveParameters } from './resolve-parameters.ts';

type Status = 'Pending' | 'InProgress' | 'Success' | 'Failed' | 'TimedOut' | 'Cancelled';

interface StepExecution {
  readonly id: string;
  readonly name: string;
  readonly action: string;
  status: Status;
  inputs: Readonly<Record<string, unknown>>;
  outputs: Readonly<Record<string, unknown>>;
  startedAt?: Date;
  endedAt?: Date;
  failure?: string;
}

interface Execution {
  readonly id: string;
  readonly documentName: string;
  readonly documentVersion: string;
  readonly parameters: Readonly<Record<string, readonly string[]>>;
  readonly executedBy: string;
  readonly startedAt: Date;
  endedAt?: Date;
  status: Status;
  failure?: string;
  outputs: Record<string, readonly string[]>;
  readonly steps: StepExecution[];
  readonly abort: AbortController;
  done: Promise<void>;
}

export interface AutomationOptions {
  readonly documents: DocumentStore;
  readonly logDirectory: string;
  readonly emit: EmitEvent;
  readonly callApi: CallApi;
  readonly now: () => Date;
  readonly millisecondsPerSecond: number;
}

interface Step {
  readonly definition: DocumentStep;
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly principal: string;
  readonly signal: AbortSignal;
}

/** What a step leaves: its outputs, and where it says to go on. */
interface StepOutcome {
  readonly outputs: Readonly<Record<string, unknown>>;
  readonly next?: string;
}

const pollMilliseconds = 200;

/** `$.a.b[0].c`: the part of JSONPath that documents use to select. */
export const select = (value: unknown, selector: string): unknown => {
  let current = value;
  for (const [, name, index] of selector.replace(/^\$/, '').matchAll(/\.([\w-]+)|\[(\d+)\]/g)) {
    if (typeof current !== 'object' || current === null) return undefined;
    current = (current as Record<string, unknown>)[name ?? index ?? ''];
  }
  return current;
};

const texts = (value: unknown): readonly string[] =>
  (Array.isArray(value) ? value : [value]).map((item) => (typeof item === 'string' ? item : JSON.stringify(item)));

const operators: Readonly<Record<string, (actual: unknown, expected: unknown) => boolean>> = {
  StringEquals: (actual, expected) => String(actual) === String(expected),
  EqualsIgnoreCase: (actual, expected) => String(actual).toLowerCase() === String(expected).toLowerCase(),
  StartsWith: (actual, expected) => String(actual).startsWith(String(expected)),
  EndsWith: (actual, expected) => String(actual).endsWith(String(expected)),
  Contains: (actual, expected) => String(actual).includes(String(expected)),
  BooleanEquals: (actual, expected) => String(actual) === String(expected),
  NumericEquals: (actual, expected) => Number(actual) === Number(expected),
  NumericGreater: (actual, expected) => Number(actual) > Number(expected),
  NumericGreaterOrEquals: (actual, expected) => Number(actual) >= Number(expected),
  NumericLesser: (actual, expected) => Number(actual) < Number(expected),
  NumericLesserOrEquals: (actual, expected) => Number(actual) <= Number(expected),
};

const choiceHolds = (choice: Readonly<Record<string, unknown>>): boolean => {
  const { And, Or, Not, Variable } = choice;
  if (Array.isArray(And)) return And.every(choiceHolds);
  if (Array.isArray(Or)) return Or.some(choiceHolds);
  if (typeof Not === 'object' && Not !== null) return !choiceHolds(Not as Record<string, unknown>);
  const operator = Object.keys(choice).find((key) => key in operators);
  const compare = operator === undefined ? undefined : operators[operator];
  if (operator === undefined || compare === undefined)
    throw new Error(`A choice has no operator: ${JSON.stringify(choice)}`);
  return compare(Variable, choice[operator]);
};

const durationSeconds = (duration: string): number => {
  const [, days = 0, hours = 0, minutes = 0, seconds = 0] =
    /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$/.exec(duration) ?? [];
  return Number(days) * 86_400 + Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
};

/**
 * Automation runbooks of schema 0.3 with the actions `aws:executeStateMachine`, `aws:executeAwsApi`, `aws:branch`, `aws:sleep`,
 * `aws:waitForAwsResourceProperty` and `aws:assertAwsResourceProperty`. Other actions fail their step by name.
 */
export class Automation {
  readonly #options: AutomationOptions;
  readonly #executions = new Map<string, Execution>();

  constructor(options: AutomationOptions) {
    this.#options = options;
    mkdirSync(options.logDirectory, { recursive: true });
  }

  async close(): Promise<void> {
    for (const { abort } of this.#executions.values()) abort.abort();
    await Promise.all([...this.#executions.values()].map(({ done }) => done));
  }

  #log(entry: object): void {
    const line = JSON.stringify({ time: this.#options.now().toISOString(), ...entry });
    appendFileSync(join(this.#options.logDirectory, 'ssm-automations.jsonl'), `${line}\n`);
  }

  #announce({ id, documentName, documentVersion, status, startedAt, executedBy }: Execution): void {
    this.#options.emit({
      source: 'aws.ssm',
      detailType: 'EC2 Automation Execution Status-change Notification',
      resources: [
        `arn:aws:ssm:${region}:${accountId}:automation-execution/${id}`,
        `arn:aws:ssm:${region}:${accountId}:automation-definition/${documentName}:${documentVersion}`,
      ],
      detail: {
        ExecutionId: id,
        Definition: documentName,
        DefinitionVersion: Number(documentVersion),
        Status: status,
        StartTime: startedAt.toISOString(),
        ExecutedBy: executedBy,
      },
    });
  }

  async #run(
    execution: Execution,
    content: DocumentContent,
    values: Readonly<Record<string, ParameterValue>>,
  ): Promise<void> {
    const globals: Readonly<Record<string, unknown>> = {
      'global:DATE': execution.startedAt.toISOString().slice(0, 10),
      'global:DATE_TIME': execution.startedAt.toISOString().slice(0, 19).replace('T', '_').replaceAll(':', '.'),
      'global:REGION': region,
      'global:ACCOUNT_ID': accountId,
      'automation:EXECUTION_ID': execution.id,
    };
    const lookUp = (name: string): unknown => {
      if (Object.hasOwn(values, name)) return values[name];
      if (Object.hasOwn(globals, name)) return globals[name];
      const dot = name.indexOf('.');
      const step = execution.steps.find((candidate) => candidate.name === name.slice(0, dot));
      return step?.outputs[name.slice(dot + 1)];
    };
    const assumed = interpolate(content.assumeRole ?? '', lookUp);
    const principal = typeof assumed === 'string' && assumed.startsWith('arn:') ? assumed : execution.executedBy;

    const steps = content.mainSteps ?? [];
    let current: DocumentStep | undefined = steps[0];
    while (current !== undefined && !execution.abort.signal.aborted) {
      const step: DocumentStep = current;
      const record = await this.#step(execution, step, lookUp, principal);
      const following = steps[steps.indexOf(step) + 1]?.name;
      let next = record.next ?? (String(step.isEnd) === 'true' ? undefined : (step.nextStep ?? following));
      if (record.status !== 'Success') {
        const onFailure = step.onFailure ?? 'Abort';
        if (execution.abort.signal.aborted) break;
        if (onFailure === 'Abort') {
          execution.status = record.status;
          execution.failure = `Step ${step.name} failed: ${record.failure}`;
          break;
        }
        if (onFailure.startsWith('step:')) next = onFailure.slice('step:'.length);
      }
      current = next === undefined ? undefined : steps.find(({ name }) => name === next);
      if (next !== undefined && current === undefined) {
        execution.status = 'Failed';
        execution.failure = `There is no step ${next}.`;
      }
    }
    if (execution.abort.signal.aborted) execution.status = 'Cancelled';
    else if (execution.status === 'InProgress') execution.status = 'Success';
    for (const output of content.outputs ?? []) {
      const value = lookUp(output);
      if (value !== undefined) execution.outputs[output] = texts(value);
    }
    execution.endedAt = this.#options.now();
    this.#log({
      event: 'execution',
      id: execution.id,
      status: execution.status,
      failure: execution.failure,
      steps: execution.steps,
      outputs: execution.outputs,
    });
    this.#announce(execution);
  }

  async #step(execution: Execution, definition: DocumentStep, lookUp: (name: string) => unknown, principal: string) {
    const record: StepExecution & { next?: string } = {
      id: randomUUID(),
      name: definition.name,
      action: definition.action,
      status: 'InProgress',
      inputs: interpolate(definition.inputs ?? {}, lookUp) as Record<string, unknown>,
      outputs: {},
      startedAt: this.#options.now(),
    };
    execution.steps.push(record);
    const attempts = Number(definition.maxAttempts ?? 1);
    for (let attempt = 1; attempt <= attempts && record.status !== 'Success'; attempt++) {
      const timeout = AbortSignal.timeout(
        Number(definition.timeoutSeconds ?? 3600) * this.#options.millisecondsPerSecond,
      );
      const signal = AbortSignal.any([timeout, execution.abort.signal]);
      try {
        const outcome = await this.#act({ definition, inputs: record.inputs, principal, signal });
        record.status = 'Success';
        record.outputs = outcome.outputs;
        if (outcome.next !== undefined) record.next = outcome.next;
      } catch (error) {
        record.status = execution.abort.signal.aborted ? 'Cancelled' : timeout.aborted ? 'TimedOut' : 'Failed';
        record.failure = `${(error as Error).name}: ${(error as Error).message}`;
      }
      if (execution.abort.signal.aborted) break;
    }
    record.endedAt = this.#options.now();
    return record;
  }

  async #act(step: Step): Promise<StepOutcome> {
    const { definition, inputs, principal, signal } = step;
    const pause = (milliseconds: number) => sleep(milliseconds, undefined, { signal });
    switch (definition.action) {
      case 'aws:executeStateMachine':
        return { outputs: await this.#executeStateMachine(step) };
      case 'aws:branch': {
        const choices = (inputs.Choices ?? []) as readonly Readonly<Record<string, unknown>>[];
        const next = choices.find(choiceHolds)?.NextStep ?? inputs.Default;
        return { outputs: {}, ...(typeof next === 'string' ? { next } : {}) };
      }
      case 'aws:sleep': {
        const seconds =
          inputs.Duration === undefined
            ? (Date.parse(String(inputs.Timestamp)) - this.#options.now().getTime()) / 1000
            : durationSeconds(String(inputs.Duration));
        await pause(Math.max(0, seconds) * this.#options.millisecondsPerSecond);
        return { outputs: {} };
      }
      case 'aws:executeAwsApi': {
        const { Service, Api, ...parameters } = inputs;
        const answer = await this.#options.callApi(String(Service), String(Api), parameters, principal);
        const declared = definition.outputs ?? [];
        return {
          outputs: {
            OutputPayload: answer,
            ...Object.fromEntries(declared.map(({ Name, Selector }) => [Name, select(answer, Selector)])),
          },
        };
      }
      case 'aws:waitForAwsResourceProperty':
      case 'aws:assertAwsResourceProperty': {
        const { Service, Api, PropertySelector, DesiredValues, ...parameters } = inputs;
        const desired = ((DesiredValues ?? []) as readonly unknown[]).map(String);
        for (;;) {
          const answer = await this.#options.callApi(String(Service), String(Api), parameters, principal);
          const value = String(select(answer, String(PropertySelector)));
          if (desired.includes(value)) return { outputs: {} };
          if (definition.action === 'aws:assertAwsResourceProperty') {
            throw new Error(`${PropertySelector} is ${value}, which is none of ${desired.join(', ')}.`);
          }
          await pause(pollMilliseconds);
        }
      }
      default:
        throw new Error(`The local Automation has no action ${definition.action}.`);
    }
  }

  async #executeStateMachine({ inputs, principal, signal }: Step): Promise<Readonly<Record<string, unknown>>> {
    const { stateMachineArn, input, name } = inputs;
    const call = (api: string, parameters: Readonly<Record<string, unknown>>) =>
      this.#options.callApi('stepfunctions', api, parameters, principal);
    // A document's input may be the value of one reference, and then it is a map.
    const text = input === undefined || typeof input === 'string' ? input : JSON.stringify(input);
    const { executionArn } = await call('StartExecution', { stateMachineArn, input: text, name });
    try {
      for (;;) {
        const execution = await call('DescribeExecution', { executionArn });
        if (execution.status === 'SUCCEEDED') {
          const iso = (date: unknown) => (date instanceof Date ? date.toISOString() : undefined);
          return {
            executionArn,
            stateMachineArn: execution.stateMachineArn,
            name: execution.name,
            input: execution.input,
            output: execution.output,
            status: execution.status,
            startDate: iso(execution.startDate),
            stopDate: iso(execution.stopDate),
          };
        }
        if (execution.status !== 'RUNNING') {
          throw new Error(
            `The execution ${executionArn} ended ${execution.status}: ${execution.error ?? ''} ${execution.cause ?? ''}`.trim(),
          );
        }
        await sleep(pollMilliseconds, undefined, { signal });
      }
    } catch (error) {
      if (signal.aborted) await call('StopExecution', { executionArn, error: 'AutomationStopped' });
      throw error;
    }
  }

  #execution(id: string): Execution {
    const execution = this.#executions.get(id);
    if (execution === undefined) {
      throw new AwsError('AutomationExecutionNotFoundException', `Automation execution ${id} does not exist.`);
    }
    return execution;
  }

  #summary(execution: Execution): object {
    return {
      AutomationExecutionId: execution.id,
      DocumentName: execution.documentName,
      DocumentVersion: execution.documentVersion,
      AutomationExecutionStatus: execution.status,
      ExecutionStartTime: execution.startedAt.getTime() / 1000,
      ...(execution.endedAt === undefined ? {} : { ExecutionEndTime: execution.endedAt.getTime() / 1000 }),
      ExecutedBy: execution.executedBy,
      Outputs: execution.outputs,
      Mode: 'Auto',
      ...(execution.failure === undefined ? {} : { FailureMessage: execution.failure }),
    };
  }

  #steps(execution: Execution): readonly object[] {
    return execution.steps.map((step) => ({
      StepExecutionId: step.id,
      StepName: step.name,
      Action: step.action,
      StepStatus: step.status,
      ...(step.startedAt === undefined ? {} : { ExecutionStartTime: step.startedAt.getTime() / 1000 }),
      ...(step.endedAt === undefined ? {} : { ExecutionEndTime: step.endedAt.getTime() / 1000 }),
      Inputs: Object.fromEntries(Object.entries(step.inputs).map(([name, value]) => [name, JSON.stringify(value)])),
      Outputs: Object.fromEntries(
        Object.entries(step.outputs)
          .filter(([, value]) => value !== undefined)
          .map(([name, value]) => [name, texts(value)]),
      ),
      ...(step.failure === undefined ? {} : { FailureMessage: step.failure }),
    }));
  }

  readonly operations: Readonly<Record<string, Operation>> = {
    StartAutomationExecution: async (input, caller) => {
      let found: ReturnType<DocumentStore['find']>;
      try {
        found = this.#options.documents.find(input.DocumentName, input.DocumentVersion);
      } catch (error) {
        const code =
          (error as AwsError).code === 'InvalidDocumentVersion'
            ? 'AutomationDefinitionVersionNotFoundException'
            : 'AutomationDefinitionNotFoundException';
        throw new AwsError(code, (error as Error).message);
      }
      if (found.document.type !== 'Automation') {
        throw new AwsError(
          'AutomationDefinitionNotFoundException',
          `${found.document.name} is not an Automation document.`,
        );
      }
      const content = readContent(found.version);
      const resolved = resolveParameters(content.parameters ?? {}, input.Parameters ?? {});
      if ('problem' in resolved) throw new AwsError('InvalidAutomationExecutionParametersException', resolved.problem);
      const execution: Execution = {
        id: input.ClientToken ?? randomUUID(),
        documentName: found.document.name,
        documentVersion: found.version.version,
        parameters: input.Parameters ?? {},
        executedBy: caller,
        startedAt: this.#options.now(),
        status: 'InProgress',
        outputs: {},
        steps: [],
        abort: new AbortController(),
        done: Promise.resolve(),
      };
      if (this.#executions.has(execution.id)) {
        throw new AwsError('IdempotentParameterMismatch', `There is an execution ${execution.id} already.`);
      }
      this.#executions.set(execution.id, execution);
      this.#log({
        event: 'start',
        id: execution.id,
        caller,
        documentName: execution.documentName,
        parameters: execution.parameters,
      });
      this.#announce(execution);
      execution.done = this.#run(execution, content, resolved.values).catch((error: Error) => {
        execution.status = 'Failed';
        execution.failure = error.message;
        this.#log({ event: 'fault', id: execution.id, message: error.stack });
      });
      return { AutomationExecutionId: execution.id };
    },

    GetAutomationExecution: async (input) => {
      const execution = this.#execution(input.AutomationExecutionId);
      return {
        AutomationExecution: {
          ...this.#summary(execution),
          Parameters: execution.parameters,
          StepExecutions: this.#steps(execution),
        },
      };
    },

    DescribeAutomationStepExecutions: async (input) => ({
      StepExecutions: this.#steps(this.#execution(input.AutomationExecutionId)),
    }),

    DescribeAutomationExecutions: async (input) => {
      const filters: { Key: string; Values: string[] }[] = input.Filters ?? [];
      const values: Readonly<Record<string, (execution: Execution) => string>> = {
        ExecutionId: ({ id }) => id,
        ExecutionStatus: ({ status }) => status,
        DocumentNamePrefix: ({ documentName }) => documentName,
      };
      const chosen = [...this.#executions.values()].filter((execution) =>
        filters.every(({ Key, Values }) => {
          const value = values[Key]?.(execution);
          if (value === undefined) throw new AwsError('InvalidFilterKey', `The local SSM has no filter ${Key}.`);
          return Values.some((wanted) => (Key === 'DocumentNamePrefix' ? value.startsWith(wanted) : value === wanted));
        }),
      );
      return { AutomationExecutionMetadataList: chosen.map((execution) => this.#summary(execution)).reverse() };
    },

    StopAutomationExecution: async (input) => {
      const execution = this.#execution(input.AutomationExecutionId);
      if (execution.endedAt !== undefined) {
        throw new AwsError(
          'InvalidAutomationStatusUpdateException',
          `The execution ended ${execution.status} already.`,
        );
      }
      execution.abort.abort();
      return {};
    },
  };
}
