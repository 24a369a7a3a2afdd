import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import type { EventBus } from '../events/event-bus.ts';
import { isJsonObject, type Json, type JsonObject } from '../json.ts';
import type { LambdaFunctions } from '../lambda/lambda-functions.ts';
import { AwsError } from '../service.ts';
import type { CallResource } from './interpret.ts';
import type { SdkService } from './resource.ts';
import { StateError } from './state-error.ts';
import type { StepFunctions } from './step-functions.ts';

export interface Callees {
  readonly functions: LambdaFunctions;
  readonly bus: EventBus;
  readonly stepFunctions: StepFunctions;
  /** Posts an action of an AWS JSON service to the router. */
  readonly callSdk: (service: SdkService, operation: string, input: JsonObject, caller: string) => Promise<Response>;
  /** Where `sns:publish` writes what it would have sent: there is no SNS here. */
  readonly notificationsFile: string;
}

/** What the Tasks of a state machine with this role can call. */
export const createCallResource =
  (callees: Callees, roleArn: string): CallResource =>
  async (resource, input, signal) => {
    const { functions, bus, stepFunctions } = callees;
    switch (resource.kind) {
      case 'function':
        return callFunction(functions, resource.functionArn, input);
      case 'lambda:invoke': {
        const { FunctionName: name, Payload: payload, InvocationType: type } = objectOf(input);
        if (type === 'Event') {
          functions.invokeLater(String(name), JSON.stringify(payload ?? {}));
          return { ExecutedVersion: '$LATEST', Payload: '', StatusCode: 202, ...sdkMetadata(202) };
        }
        return {
          ExecutedVersion: '$LATEST',
          Payload: await callFunction(functions, String(name), payload ?? {}),
          StatusCode: 200,
          ...sdkMetadata(200),
        };
      }
      case 'events:putEvents': {
        const entries = objectOf(input).Entries;
        const withText = (Array.isArray(entries) ? entries : []).map((entry: Json) => {
          const { Detail: detail, ...rest } = objectOf(entry);
          return { ...rest, Detail: typeof detail === 'string' ? detail : JSON.stringify(detail ?? {}) };
        });
        const { Entries: answers, FailedEntryCount: failed } = bus.putEvents(withText);
        if (failed > 0) {
          throw new StateError(
            'EventBridge.FailedEntry',
            JSON.stringify(answers.filter(({ ErrorCode }) => ErrorCode !== undefined)),
          );
        }
        return { Entries: answers as unknown as Json, FailedEntryCount: failed, ...sdkMetadata(200) };
      }
      case 'sns:publish':
        appendFileSync(
          callees.notificationsFile,
          `${JSON.stringify({ time: new Date().toISOString(), publish: input })}\n`,
        );
        return { MessageId: randomUUID(), ...sdkMetadata(200) };
      case 'states:startExecution': {
        const { StateMachineArn: arn, Name: name, Input: own } = objectOf(input);
        let started: { readonly executionArn: string; readonly startDate: number };
        try {
          started = stepFunctions.startExecution(
            String(arn),
            typeof own === 'string' ? own : JSON.stringify(own ?? {}),
            typeof name === 'string' ? name : undefined,
          );
        } catch (error) {
          throw serviceError(error, 'StepFunctions');
        }
        if (resource.pattern !== 'sync' && resource.pattern !== 'sync:2') {
          return {
            ExecutionArn: started.executionArn,
            StartDate: new Date(started.startDate * 1000).toISOString(),
            ...sdkMetadata(200),
          };
        }
        // The parent's end stops a child that it waits for.
        const stop = () => void stepFunctions.stop(started.executionArn);
        signal.addEventListener('abort', stop, { once: true });
        const ended = pascal(await stepFunctions.waitFor(started.executionArn)) as JsonObject;
        signal.removeEventListener('abort', stop);
        const output = ended.Output;
        if (ended.Status !== 'SUCCEEDED') {
          throw new StateError('States.TaskFailed', JSON.stringify(ended));
        }
        return {
          ...ended,
          ...(resource.pattern === 'sync:2' && typeof output === 'string'
            ? { Output: JSON.parse(output) as Json }
            : {}),
        };
      }
      case 'aws-sdk': {
        const { service, action, errorPrefix } = resource;
        const operation = action.charAt(0).toUpperCase() + action.slice(1);
        const wire = objectOf(input);
        const response = await callees.callSdk(service, operation, service.camelCase ? camel(wire) : wire, roleArn);
        const text = await response.text();
        if (!response.ok) {
          throw sdkError(text, response.status, errorPrefix);
        }
        const output = (text === '' ? {} : JSON.parse(text)) as Json;
        return service.camelCase ? pascal(output) : output;
      }
    }
  };

const callFunction = async (functions: LambdaFunctions, name: string, payload: Json): Promise<Json> => {
  let outcome: Awaited<ReturnType<LambdaFunctions['invoke']>>;
  try {
    outcome = await functions.invoke(name, JSON.stringify(payload));
  } catch (error) {
    throw serviceError(error, 'Lambda');
  }
  if (outcome.functionError !== undefined) {
    const { errorType } = JSON.parse(outcome.payload) as { errorType?: string };
    throw new StateError(errorType ?? 'Lambda.Unknown', outcome.payload);
  }
  return JSON.parse(outcome.payload) as Json;
};

const objectOf = (value: Json | undefined): JsonObject => (isJsonObject(value) ? value : {});

const sdkMetadata = (status: number): JsonObject => ({
  SdkHttpMetadata: { HttpStatusCode: status },
  SdkResponseMetadata: { RequestId: randomUUID() },
});

const serviceError = (error: unknown, prefix: string): unknown =>
  error instanceof AwsError ? new StateError(`${prefix}.${withException(error.code)}`, error.message) : error;

/** Error names of AWS SDK integrations are those of the SDK for Java: `DynamoDb.ConditionalCheckFailedException`. */
const sdkError = (text: string, status: number, prefix: string): StateError => {
  let body: { readonly __type?: string; readonly message?: string; readonly Message?: string } = {};
  try {
    body = JSON.parse(text);
  } catch {
    body = { message: text };
  }
  const code = (body.__type ?? 'SdkClientException').split('#').at(-1) as string;
  return new StateError(
    `${prefix}.${withException(code)}`,
    `${body.message ?? body.Message ?? ''} (Service: ${prefix}, Status Code: ${status}, Request ID: ${randomUUID()})`,
  );
};

const withException = (code: string): string => (code.endsWith('Exception') ? code : `${code}Exception`);

const camel = (value: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(value).map(([key, inner]) => [key.charAt(0).toLowerCase() + key.slice(1), inner]));

const pascal = (value: Json): Json =>
  Array.isArray(value)
    ? value.map(pascal)
    : isJsonObject(value)
      ? Object.fromEntries(
          Object.entries(value).map(([key, inner]) => [key.charAt(0).toUpperCase() + key.slice(1), pascal(inner)]),
        )
      : value;
