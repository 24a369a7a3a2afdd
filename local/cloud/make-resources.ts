import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EventBus, RuleTarget } from './events/event-bus.ts';
import { isJsonObject, type Json, type JsonObject } from './json.ts';
import type { LambdaFunctions } from './lambda/lambda-functions.ts';
import { unpackCode } from './lambda/unpack-code.ts';
import type { ScheduleRequest, Scheduler } from './scheduler/scheduler.ts';
import type { StepFunctions } from './step-functions/step-functions.ts';
import type { Assembly } from './template/read-assembly.ts';
import type { Resource } from './template/resolve-assembly.ts';

/** Makes one resource of a template in the service it belongs to. */
export type MakeResource = (resource: Resource) => void | Promise<void>;

export interface Makers {
  readonly functions: LambdaFunctions;
  readonly stepFunctions: StepFunctions;
  readonly bus: EventBus;
  readonly scheduler: Scheduler;
  readonly assembly: Assembly;
  /** Where the functions' code is laid out. */
  readonly codeDirectory: string;
  /** All resources, for those that another one configures. */
  readonly resources: readonly Resource[];
}

const text = (value: Json | undefined, standard = ''): string => (typeof value === 'string' ? value : standard);
const object = (value: Json | undefined): JsonObject => (value !== undefined && isJsonObject(value) ? value : {});
const objects = (value: Json | undefined): readonly JsonObject[] =>
  Array.isArray(value) ? (value as readonly Json[]).filter(isJsonObject) : [];

/** The makers of the types that this folder's own services stand for, in the order in which they are to be made. */
export const createMakers = (makers: Makers): ReadonlyMap<string, MakeResource> => {
  const { functions, stepFunctions, bus, scheduler, assembly, codeDirectory, resources } = makers;
  return new Map<string, MakeResource>([
    [
      'AWS::Lambda::Function',
      ({ name, arn, properties }) => {
        const invokeConfig = resources.find(
          ({ type, properties: config }) => type === 'AWS::Lambda::EventInvokeConfig' && config.FunctionName === name,
        );
        const reserved = properties.ReservedConcurrentExecutions;
        functions.addFunction({
          name,
          arn: arn ?? name,
          roleArn: text(properties.Role),
          handler: text(properties.Handler, 'index.handler'),
          codeDirectory: unpackCode(object(properties.Code), join(codeDirectory, name), assembly.assetPath),
          environment: Object.fromEntries(
            Object.entries(object(object(properties.Environment).Variables)).map(([key, value]) => [
              key,
              String(value),
            ]),
          ),
          // Lambda's defaults.
          timeoutSeconds: Number(properties.Timeout ?? 3),
          memoryMegabytes: Number(properties.MemorySize ?? 128),
          reservedConcurrency: reserved === undefined ? undefined : Number(reserved),
          maximumRetryAttempts: Number(invokeConfig?.properties.MaximumRetryAttempts ?? 2),
        });
      },
    ],
    ['AWS::Lambda::EventInvokeConfig', () => undefined],
    [
      'AWS::StepFunctions::StateMachine',
      ({ name, arn, properties }) => {
        stepFunctions.addStateMachine({
          name,
          arn: arn ?? name,
          roleArn: text(properties.RoleArn),
          definition: definitionOf(name, properties, assembly),
        });
      },
    ],
    [
      'AWS::Events::Rule',
      ({ name, arn, properties }) => {
        if (properties.ScheduleExpression !== undefined) {
          throw new Error(
            `Rule ${name} has a ScheduleExpression; the local cloud fires schedules of EventBridge Scheduler only.`,
          );
        }
        if (properties.EventBusName !== undefined && properties.EventBusName !== 'default') {
          throw new Error(
            `Rule ${name} is on the bus ${text(properties.EventBusName)}; the local cloud has the default bus only.`,
          );
        }
        bus.addRule({
          name,
          arn: arn ?? name,
          pattern: object(properties.EventPattern),
          enabled: text(properties.State, 'ENABLED') === 'ENABLED',
          targets: objects(properties.Targets) as unknown as readonly RuleTarget[],
        });
      },
    ],
    ['AWS::Scheduler::ScheduleGroup', ({ name }) => scheduler.addGroup(name)],
    [
      'AWS::Scheduler::Schedule',
      ({ name, properties }) => {
        const { GroupName: groupName, Name: _name, StartDate: start, EndDate: end, ...request } = properties;
        scheduler.add(name, text(groupName, 'default'), {
          ...(request as unknown as ScheduleRequest),
          ...(typeof start === 'string' ? { StartDate: Date.parse(start) / 1000 } : {}),
          ...(typeof end === 'string' ? { EndDate: Date.parse(end) / 1000 } : {}),
        });
      },
    ],
  ]);
};

/** A definition may stand in the template as text or object, or be an asset; substitutions apply to each. */
const definitionOf = (name: string, properties: JsonObject, assembly: Assembly): string => {
  const { DefinitionString: asText, Definition: asObject, DefinitionS3Location: location } = properties;
  let definition: string;
  if (typeof asText === 'string') {
    definition = asText;
  } else if (asObject !== undefined) {
    definition = JSON.stringify(asObject);
  } else {
    const path = assembly.assetPath(text(object(location).Key));
    if (path === undefined) {
      throw new Error(`The definition of state machine ${name} is no asset of the assembly.`);
    }
    definition = readFileSync(path, 'utf8');
  }
  const substitutions = object(properties.DefinitionSubstitutions);
  return definition.replaceAll(/\$\{([\w-]+)\}/g, (found, key: string) =>
    Object.hasOwn(substitutions, key) ? String(substitutions[key]) : found,
  );
};
