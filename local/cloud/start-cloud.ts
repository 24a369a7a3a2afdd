import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Access, type OutsideRole } from './access.ts';
import { type Deliver, type EmitEvent, EventBus } from './events/event-bus.ts';
import type { Json, JsonObject } from './json.ts';
import { LambdaFunctions } from './lambda/lambda-functions.ts';
import { createMakers, type MakeResource } from './make-resources.ts';
import { Principals, region } from './principals.ts';
import { startRouter } from './router.ts';
import { FaultInjector } from './s3/fault-injector.ts';
import { type InvokeTarget, Scheduler } from './scheduler/scheduler.ts';
import type { ProxiedService, Service } from './service.ts';
import { createCallResource } from './step-functions/call-resource.ts';
import type { SdkService } from './step-functions/resource.ts';
import { StepFunctions } from './step-functions/step-functions.ts';
import { readAssembly } from './template/read-assembly.ts';
import { type Resource, resolveAssembly } from './template/resolve-assembly.ts';
import { UnsupportedResource } from './template/resource-identity.ts';

/** What a service gets from the cloud that it becomes part of. */
export interface CloudContext {
  /** Kept from one start to the next. */
  readonly stateDirectory: string;
  /** Everything that could leave a trace on AWS is written below: a search for secrets looks here. */
  readonly logDirectory: string;
  readonly principals: Principals;
  /** Puts an event of an AWS service on the default bus. */
  readonly emit: EmitEvent;
  /** All that is to be made. */
  readonly resources: readonly Resource[];
  /** The IAM statements of a role. */
  readonly statementsOf: Access['statementsOf'];
  readonly allowsS3: Access['allowsS3'];
  /** The one endpoint; known once everything has started. */
  readonly endpoint: () => string;
}

/** A service that is composed into the cloud, with the resource types that it makes. */
export interface CloudPart {
  readonly service: Service | ProxiedService;
  readonly makes?: Readonly<Record<string, MakeResource>>;
  close?(): Promise<void>;
}

export type CreatePart = (context: CloudContext) => CloudPart | Promise<CloudPart>;

export interface StartCloudOptions {
  /** Folder that `cdk synth` wrote. */
  readonly cdkOut: string;
  readonly stateDirectory: string;
  /** 0, the default, takes any free port. */
  readonly port?: number;
  /** Services besides those of this folder: KMS, SSM, S3, DynamoDB. Their resources are made before functions and workflows. */
  readonly services: readonly CreatePart[];
  /** Roles that no template makes, such as those of the hosts. */
  readonly roles?: readonly OutsideRole[];
  /** Values of template parameters. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** How long a second between two tries of a workflow's task lasts, for tests; 1000 by default. */
  readonly millisecondsPerRetrySecond?: number;
}

export interface Cloud {
  /** What AWS_ENDPOINT_URL is set to. */
  readonly endpoint: string;
  readonly logDirectory: string;
  readonly principals: Principals;
  /** Faults of calls to come of the JSON services; S3 has its own. */
  readonly faults: FaultInjector;
  readonly emit: EmitEvent;
  readonly resources: readonly Resource[];
  /** Values of the stacks' Outputs, by stack name and output key. */
  readonly outputs: Readonly<Record<string, Readonly<Record<string, Json>>>>;
  /** The resource of a type whose logical id begins so; throws unless there is exactly one. */
  find(type: string, logicalIdPrefix?: string): Resource;
  close(): Promise<void>;
}

/**
 * Starts the same control plane on one machine: reads what was synthesized, starts the services behind one endpoint on loopback, and
 * makes the resources. Throws by name at what it cannot resolve or make, with nothing left running.
 */
export const startCloud = async (options: StartCloudOptions): Promise<Cloud> => {
  const {
    cdkOut,
    stateDirectory,
    port = 0,
    services,
    roles = [],
    parameters = {},
    millisecondsPerRetrySecond = 1000,
  } = options;
  const assembly = readAssembly(cdkOut);
  const { resources, policies, outputs } = resolveAssembly(assembly, parameters);
  const access = new Access(policies, roles);
  const logDirectory = join(stateDirectory, 'logs');
  mkdirSync(logDirectory, { recursive: true });

  const closers: (() => void | Promise<void>)[] = [];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) {
      await closer();
    }
  };
  try {
    let endpoint: string | undefined;
    const endpointOf = () => {
      if (endpoint === undefined) {
        throw new Error('The endpoint is known once the router listens.');
      }
      return endpoint;
    };
    const principals = new Principals();
    const functions = new LambdaFunctions({
      endpoint: endpointOf,
      principals,
      logDirectory: join(logDirectory, 'lambda'),
    });
    // The bus and the scheduler start executions, and executions put events on the bus.
    const invokeTarget: InvokeTarget = async (targetArn, input) => {
      const delivery = deliver(targetArn, input);
      if (delivery === null) {
        throw new Error(`The local cloud has no target ${targetArn}.`);
      }
      await delivery;
    };
    const deliver: Deliver = (targetArn, input) => {
      if (targetArn.includes(':lambda:')) {
        return Promise.resolve().then(() => functions.invokeLater(targetArn, input));
      }
      if (targetArn.includes(':stateMachine:')) {
        return Promise.resolve().then(() => void stepFunctions.startExecution(targetArn, input));
      }
      return null;
    };
    const bus = new EventBus({ deliver, logDirectory });
    const callSdk = (service: SdkService, operation: string, input: JsonObject, caller: string) =>
      fetch(endpointOf(), {
        method: 'POST',
        headers: {
          'content-type': service.contentType,
          'x-amz-target': `${service.targetPrefix}.${operation}`,
          authorization: `AWS4-HMAC-SHA256 Credential=${principals.credentialsFor(caller).accessKeyId}/20260101/${region}/${service.signingName}/aws4_request`,
        },
        body: JSON.stringify(input),
      });
    const stepFunctions: StepFunctions = new StepFunctions({
      callResource: (roleArn) =>
        createCallResource(
          { functions, bus, stepFunctions, callSdk, notificationsFile: join(logDirectory, 'notifications.jsonl') },
          roleArn,
        ),
      emit: bus.emit,
      logDirectory: join(logDirectory, 'step-functions'),
      millisecondsPerRetrySecond,
    });
    const scheduler = new Scheduler({ invokeTarget, logDirectory });

    const context: CloudContext = {
      stateDirectory,
      logDirectory,
      principals,
      emit: bus.emit,
      resources,
      statementsOf: access.statementsOf,
      allowsS3: access.allowsS3,
      endpoint: endpointOf,
    };
    const parts: CloudPart[] = [];
    for (const create of services) {
      const part = await create(context);
      parts.push(part);
      closers.push(async () => part.close?.());
    }
    const faults = new FaultInjector();
    const router = await startRouter({
      services: [
        ...parts.map(({ service }) => service),
        functions.service,
        stepFunctions.service,
        bus.service,
        scheduler.service,
      ],
      principals,
      port,
      faults,
    });
    endpoint = router.endpoint;
    // In this order: nothing new begins, what runs ends, and only then do the services go.
    closers.push(
      () => router.close(),
      () => functions.close(),
      () => bus.close(),
      () => stepFunctions.close(),
      () => scheduler.close(),
    );

    const makers = new Map<string, MakeResource>([
      ...parts.flatMap(({ makes = {} }) => Object.entries(makes)),
      ...createMakers({
        functions,
        stepFunctions,
        bus,
        scheduler,
        assembly,
        codeDirectory: join(stateDirectory, 'lambda'),
        resources,
      }),
    ]);
    const orphan = resources.find(({ type }) => !makers.has(type));
    if (orphan !== undefined) {
      throw new UnsupportedResource(
        `${orphan.stackName}/${orphan.logicalId} is of type ${orphan.type}, which no service of this cloud makes.`,
      );
    }
    for (const [type, make] of makers) {
      for (const resource of resources.filter((one) => one.type === type)) {
        await make(resource);
      }
    }

    return {
      endpoint,
      logDirectory,
      principals,
      faults,
      emit: bus.emit,
      resources,
      outputs,
      find: (type, logicalIdPrefix = '') => {
        const found = resources.filter((one) => one.type === type && one.logicalId.startsWith(logicalIdPrefix));
        const [only] = found;
        if (only === undefined || found.length > 1) {
          throw new Error(`There are ${found.length} resources of type ${type} that begin with '${logicalIdPrefix}'.`);
        }
        return only;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
};
