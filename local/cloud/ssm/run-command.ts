import { randomUUID } from 'node:crypto';
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import type { EmitEvent } from '../events/event-bus.ts';
import { accountId, type Principals, region } from '../principals.ts';
import { AwsError, type Operation } from '../service.ts';
import { type DocumentContent, type DocumentStep, type DocumentStore, hashOf, readContent } from './document-store.ts';
import { interpolate } from './interpolate.ts';
import { type ParameterValue, resolveParameters } from './resolve-parameters.ts';
import { runScript } from './run-script.ts';

/** A host as Systems Manager knows it. Its scripts run as processes of this machine. */
export interface ManagedInstance {
  /** `i-…`. */
  readonly instanceId: string;
  /** The role of its instance profile: scripts get this role's keys. */
  readonly roleArn: string;
  /** Where what the SSM agent writes goes: scripts and downloads, below `orchestration/<command id>`. */
  readonly directory: string;
  /** The whole environment of its scripts, besides PATH and what the profile and the SSM agent give. */
  readonly environment: Readonly<Record<string, string>>;
  /** `ConnectionLost`: commands are taken and never delivered. `false`: they are refused, as for a stopped instance. */
  readonly online: boolean | 'ConnectionLost';
  readonly name?: string;
}

type Status = 'Pending' | 'InProgress' | 'Success' | 'Cancelled' | 'Failed' | 'TimedOut' | 'Cancelling';

interface StepResult {
  readonly name: string;
  readonly action: string;
  status: Status;
  statusDetails: string;
  responseCode: number;
  startedAt?: Date;
  endedAt?: Date;
  stdout: string;
  stderr: string;
}

interface Invocation {
  readonly instanceId: string;
  status: Status;
  statusDetails: string;
  readonly steps: StepResult[];
  readonly abort: AbortController;
  done: Promise<void>;
}

interface Command {
  readonly commandId: string;
  readonly documentName: string;
  readonly documentVersion: string;
  readonly parameters: Readonly<Record<string, readonly string[]>>;
  readonly comment: string;
  readonly requestedAt: Date;
  readonly deliveryTimeoutSeconds: number;
  readonly invocations: readonly Invocation[];
  announced: Status | undefined;
}

export interface RunCommandOptions {
  readonly documents: DocumentStore;
  readonly logDirectory: string;
  readonly emit: EmitEvent;
  readonly principals: Principals;
  readonly endpoint: () => string;
  readonly now: () => Date;
  /** How long a second of a timeout lasts; tests shorten it. */
  readonly millisecondsPerSecond: number;
}

const outputLimit = 24_000;
const errorLimit = 8_000;
const truncated = '--output truncated--';
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** As the SSM agent cuts its outputs: the mark is within the limit. */
const cut = (text: string, limit: number): string =>
  text.length < limit ? text : `${text.slice(0, limit - truncated.length)}${truncated}`;

const ended = (status: Status): boolean => !['Pending', 'InProgress', 'Cancelling'].includes(status);

const totalOf = (invocations: readonly Invocation[]): { status: Status; statusDetails: string } => {
  const statuses = invocations.map(({ status }) => status);
  if (!statuses.every(ended))
    return {
      status: statuses.includes('Cancelling')
        ? 'Cancelling'
        : statuses.every((status) => status === 'Pending')
          ? 'Pending'
          : 'InProgress',
      statusDetails: '',
    };
  const worst =
    (['Cancelled', 'TimedOut', 'Failed', 'Success'] as const).find((status) => statuses.includes(status)) ?? 'Success';
  return { status: worst, statusDetails: invocations.find(({ status }) => status === worst)?.statusDetails ?? worst };
};

/** Run Command: sends documents of schema 2.2 to managed instances, which run their steps as processes of this machine. */
export class RunCommand {
  readonly #options: RunCommandOptions;
  readonly #instances = new Map<string, ManagedInstance>();
  readonly #commands = new Map<string, Command>();

  constructor(options: RunCommandOptions) {
    this.#options = options;
    mkdirSync(options.logDirectory, { recursive: true });
  }

  /** Adds an instance, or replaces what was said of it. */
  register(instance: ManagedInstance): void {
    if (!/^m?i-[0-9a-f]{8,17}$/.test(instance.instanceId)) {
      throw new Error(`${instance.instanceId} is not an instance id (i- and 8 or 17 hexadecimal digits).`);
    }
    this.#instances.set(instance.instanceId, instance);
  }

  deregister(instanceId: string): void {
    this.#instances.delete(instanceId);
  }

  /** Cancels what runs and waits for its end. */
  async close(): Promise<void> {
    const open = [...this.#commands.values()].flatMap(({ invocations }) => invocations);
    for (const { abort } of open) abort.abort();
    await Promise.all(open.map(({ done }) => done));
  }

  #log(entry: object): void {
    const line = JSON.stringify({ time: this.#options.now().toISOString(), ...entry });
    appendFileSync(join(this.#options.logDirectory, 'ssm-commands.jsonl'), `${line}\n`);
  }

  #seconds(seconds: number): number {
    return seconds * this.#options.millisecondsPerSecond;
  }

  #announce(command: Command, invocation: Invocation): void {
    const common = {
      'command-id': command.commandId,
      'document-name': command.documentName,
      'requested-date-time': command.requestedAt.toISOString(),
    };
    this.#options.emit({
      source: 'aws.ssm',
      detailType: 'EC2 Command Invocation Status-change Notification',
      resources: [`arn:aws:ec2:${region}:${accountId}:instance/${invocation.instanceId}`],
      detail: { ...common, 'instance-id': invocation.instanceId, status: invocation.status },
    });
    const { status } = totalOf(command.invocations);
    if (status === command.announced) return;
    command.announced = status;
    this.#options.emit({
      source: 'aws.ssm',
      detailType: 'EC2 Command Status-change Notification',
      resources: command.invocations.map(
        ({ instanceId }) => `arn:aws:ec2:${region}:${accountId}:instance/${instanceId}`,
      ),
      detail: {
        ...common,
        'expire-after': new Date(
          command.requestedAt.getTime() + this.#seconds(command.deliveryTimeoutSeconds),
        ).toISOString(),
        parameters: command.parameters,
        status,
      },
    });
  }

  #setStatus(command: Command, invocation: Invocation, status: Status, statusDetails: string = status): void {
    invocation.status = status;
    invocation.statusDetails = statusDetails;
    this.#announce(command, invocation);
  }

  async #invoke(
    command: Command,
    invocation: Invocation,
    instance: ManagedInstance,
    content: DocumentContent,
    values: Readonly<Record<string, ParameterValue>>,
  ): Promise<void> {
    const { signal } = invocation.abort;
    if (instance.online === 'ConnectionLost') {
      await sleep(this.#seconds(command.deliveryTimeoutSeconds), undefined, { signal, ref: false }).catch(() => {});
      if (signal.aborted) this.#setStatus(command, invocation, 'Cancelled');
      else this.#setStatus(command, invocation, 'TimedOut', 'DeliveryTimedOut');
      return;
    }
    // The answer to SendCommand always says Pending.
    await sleep(0);
    if (signal.aborted) return this.#setStatus(command, invocation, 'Cancelled');
    this.#setStatus(command, invocation, 'InProgress');
    let worst: StepResult | undefined;
    for (const [index, step] of (content.mainSteps ?? []).entries()) {
      const result = invocation.steps[index];
      if (result === undefined) continue;
      await this.#step(command, instance, content, values, step, result, signal);
      this.#log({ event: 'step', commandId: command.commandId, instanceId: instance.instanceId, ...result });
      if (result.status !== 'Success') worst ??= result;
      const onFailure = step.inputs?.onFailure ?? step.onFailure;
      if (result.status === 'Cancelled' || (result.status !== 'Success' && onFailure === 'exit')) break;
    }
    for (const step of invocation.steps) {
      if (ended(step.status)) continue;
      step.status = worst?.status === 'Cancelled' ? 'Cancelled' : 'Success';
      step.statusDetails = worst?.status === 'Cancelled' ? 'Cancelled' : 'NotRun';
    }
    this.#setStatus(command, invocation, worst?.status ?? 'Success', worst?.statusDetails ?? 'Success');
  }

  async #step(
    command: Command,
    instance: ManagedInstance,
    content: DocumentContent,
    values: Readonly<Record<string, ParameterValue>>,
    step: DocumentStep,
    result: StepResult,
    signal: AbortSignal,
  ): Promise<void> {
    const finish = (status: Status, statusDetails: string, responseCode: number, stdout = '', stderr = '') =>
      Object.assign(result, { status, statusDetails, responseCode, endedAt: this.#options.now(), stdout, stderr });
    result.startedAt = this.#options.now();
    result.status = 'InProgress';
    const asEnvironment = new Set(
      Object.entries(content.parameters ?? {})
        .filter(([, { interpolationType }]) => interpolationType === 'ENV_VAR')
        .map(([name]) => name),
    );
    const lookUp = (name: string) => (asEnvironment.has(name) ? undefined : values[name]);
    const precondition = interpolate(step.precondition ?? {}, lookUp) as Record<string, readonly string[]>;
    const [left, right] = precondition.StringEquals ?? [];
    if (left !== undefined && (left === 'platformType' ? 'Linux' : left) !== right) {
      finish('Success', 'Skipped', 0, 'Step execution skipped due to unsatisfied preconditions');
      return;
    }
    const orchestration = join(instance.directory, 'orchestration', command.commandId);
    const downloads = join(orchestration, 'downloads');
    const inputs = interpolate(step.inputs ?? {}, lookUp) as Record<string, unknown>;
    try {
      if (step.action === 'aws:downloadContent') {
        const files = await this.#download(instance, inputs, downloads);
        finish('Success', 'Success', 0, `Content downloaded to ${files.join(', ')}`);
        return;
      }
      if (step.action !== 'aws:runShellScript') throw new Error(`The local SSM agent has no plugin ${step.action}.`);
      // Outside of these limits the agent takes its default.
      const asked = Number(inputs.timeoutSeconds ?? 3600);
      const timeout = asked >= 5 && asked <= 172_800 ? asked : 3600;
      const commands = [inputs.runCommand ?? []].flat().map(String);
      const script = await runScript({
        commands,
        directory: join(orchestration, step.name),
        workingDirectory: resolve(instance.directory, String(inputs.workingDirectory || downloads)),
        environment: {
          PATH: defaultPath,
          ...instance.environment,
          ...this.#profile(instance),
          ...Object.fromEntries([...asEnvironment].map((name) => [`SSM_${name}`, String(values[name] ?? '')])),
        },
        timeoutMilliseconds: this.#seconds(timeout),
        signal,
      });
      // The agent takes exit code 137 for its own kill, so a script that somebody else killed shows as timed out too.
      const status: Status =
        script.ended === 'cancelled'
          ? 'Cancelled'
          : script.exitCode === 137
            ? 'TimedOut'
            : script.exitCode === 0
              ? 'Success'
              : 'Failed';
      const failure =
        status === 'Failed'
          ? `${script.stderr === '' ? '' : '\n'}failed to run commands: exit status ${script.exitCode}`
          : '';
      finish(
        status,
        status === 'TimedOut' ? 'ExecutionTimedOut' : status,
        script.exitCode,
        script.stdout,
        script.stderr + failure,
      );
    } catch (error) {
      finish('Failed', 'Failed', 1, '', (error as Error).message);
    }
  }

  #profile({ instanceId, roleArn }: ManagedInstance): Record<string, string> {
    const { accessKeyId, secretAccessKey } = this.#options.principals.credentialsFor(roleArn);
    return {
      AWS_ENDPOINT_URL: this.#options.endpoint(),
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_SSM_INSTANCE_ID: instanceId,
      AWS_SSM_REGION_NAME: region,
    };
  }

  async #download(
    instance: ManagedInstance,
    inputs: Record<string, unknown>,
    downloads: string,
  ): Promise<readonly string[]> {
    if (inputs.sourceType !== 'S3')
      throw new Error(`The local SSM agent downloads from S3 only, not from ${inputs.sourceType}.`);
    const info = inputs.sourceInfo;
    const { path } = typeof info === 'string' ? JSON.parse(info) : (info as { path: string });
    const address = new URL(path);
    const virtualHost = /^(.+)\.s3[.-][a-z0-9.-]*amazonaws\.com$/.exec(address.hostname)?.[1];
    const [first = '', ...rest] = decodeURIComponent(address.pathname.slice(1)).split('/');
    const bucket = virtualHost ?? first;
    const wanted = virtualHost === undefined ? rest.join('/') : [first, ...rest].join('/');
    const s3 = new S3Client({
      region,
      endpoint: this.#options.endpoint(),
      credentials: this.#options.principals.credentialsFor(instance.roleArn),
      forcePathStyle: true,
    });
    try {
      const folder = wanted.endsWith('/');
      const listed = folder
        ? (await s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: wanted }))).Contents
        : [{ Key: wanted }];
      const destination = resolve(downloads, String(inputs.destinationPath || '.'));
      const files: string[] = [];
      for (const { Key = '' } of listed ?? []) {
        const object = await s3.send(new GetObjectCommand({ Bucket: bucket, Key }));
        const into = folder || inputs.destinationPath === undefined || String(inputs.destinationPath).endsWith('/');
        const file = into
          ? join(destination, folder ? Key.slice(wanted.length) : (Key.split('/').at(-1) ?? Key))
          : destination;
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, (await object.Body?.transformToByteArray()) ?? '');
        files.push(file);
      }
      return files;
    } finally {
      s3.destroy();
    }
  }

  #command(commandId: string): Command {
    const command = this.#commands.get(commandId);
    if (command === undefined) throw new AwsError('InvalidCommandId', `The command ${commandId} does not exist.`);
    return command;
  }

  #shown(command: Command): object {
    const { status, statusDetails } = totalOf(command.invocations);
    const seconds = command.requestedAt.getTime() / 1000;
    return {
      CommandId: command.commandId,
      DocumentName: command.documentName,
      DocumentVersion: command.documentVersion,
      Comment: command.comment,
      ExpiresAfter: seconds + command.deliveryTimeoutSeconds,
      Parameters: command.parameters,
      InstanceIds: command.invocations.map(({ instanceId }) => instanceId),
      RequestedDateTime: seconds,
      Status: status,
      StatusDetails: statusDetails || status,
      TimeoutSeconds: command.deliveryTimeoutSeconds,
      TargetCount: command.invocations.length,
      CompletedCount: command.invocations.filter((invocation) => ended(invocation.status)).length,
      ErrorCount: command.invocations.filter((invocation) => ['Failed', 'TimedOut'].includes(invocation.status)).length,
    };
  }

  #targetsOf(input: {
    InstanceIds?: string[];
    Targets?: { Key: string; Values: string[] }[];
  }): readonly ManagedInstance[] {
    const other = input.Targets?.find(({ Key }) => !/^instanceids$/i.test(Key));
    if (other !== undefined) throw new AwsError('InvalidTarget', `The local SSM has no target ${other.Key}.`);
    const ids = [...new Set([...(input.InstanceIds ?? []), ...(input.Targets ?? []).flatMap(({ Values }) => Values)])];
    const instances = ids.map((id) => this.#instances.get(id));
    const invalid = ids.filter((_, index) => (instances[index]?.online ?? false) === false);
    if (ids.length === 0 || invalid.length > 0) {
      throw new AwsError(
        'InvalidInstanceId',
        `Instances [[${invalid.join(', ')}]] not in a valid state for account ${accountId}`,
      );
    }
    return instances.filter((instance) => instance !== undefined);
  }

  readonly operations: Readonly<Record<string, Operation>> = {
    SendCommand: async (input, caller) => {
      const { document, version } = this.#options.documents.find(input.DocumentName ?? '', input.DocumentVersion);
      if (document.type !== 'Command')
        throw new AwsError('InvalidDocument', `${document.name} is not a Command document.`);
      if (input.DocumentHash !== undefined && input.DocumentHash !== hashOf(version)) {
        throw new AwsError('InvalidDocument', `The hash of ${document.name} is not ${input.DocumentHash}.`);
      }
      const timeout = input.TimeoutSeconds ?? 3600;
      if (timeout < 30 || timeout > 2_592_000) {
        throw new AwsError(
          'ValidationException',
          `1 validation error detected: Value '${timeout}' at 'timeoutSeconds' failed to satisfy constraint: Member must have value greater than or equal to 30`,
        );
      }
      const content = readContent(version);
      const resolved = resolveParameters(content.parameters ?? {}, input.Parameters ?? {});
      if ('problem' in resolved) throw new AwsError('InvalidParameters', resolved.problem);
      const instances = this.#targetsOf(input);
      const invocations = instances.map(
        (instance): Invocation => ({
          instanceId: instance.instanceId,
          status: 'Pending',
          statusDetails: 'Pending',
          steps: (content.mainSteps ?? []).map(({ name, action }) => ({
            name,
            action,
            status: 'Pending',
            statusDetails: 'Pending',
            responseCode: -1,
            stdout: '',
            stderr: '',
          })),
          abort: new AbortController(),
          done: Promise.resolve(),
        }),
      );
      const command: Command = {
        commandId: randomUUID(),
        documentName: document.name,
        documentVersion: version.version,
        parameters: input.Parameters ?? {},
        comment: input.Comment ?? '',
        requestedAt: this.#options.now(),
        deliveryTimeoutSeconds: timeout,
        invocations,
        announced: undefined,
      };
      this.#commands.set(command.commandId, command);
      this.#log({
        event: 'command',
        caller,
        commandId: command.commandId,
        documentName: document.name,
        documentVersion: version.version,
        parameters: command.parameters,
        instanceIds: instances.map(({ instanceId }) => instanceId),
      });
      for (const [index, invocation] of invocations.entries()) {
        const instance = instances[index];
        if (instance === undefined) continue;
        invocation.done = this.#invoke(command, invocation, instance, content, resolved.values).catch(
          (error: Error) => {
            invocation.status = 'Failed';
            invocation.statusDetails = 'Failed';
            this.#log({ event: 'fault', commandId: command.commandId, message: error.stack });
          },
        );
      }
      return { Command: this.#shown(command) };
    },

    CancelCommand: async (input) => {
      const command = this.#command(input.CommandId);
      const wanted: string[] | undefined = input.InstanceIds?.length > 0 ? input.InstanceIds : undefined;
      for (const invocation of command.invocations) {
        if (ended(invocation.status) || (wanted !== undefined && !wanted.includes(invocation.instanceId))) continue;
        invocation.status = 'Cancelling';
        invocation.statusDetails = 'Cancelling';
        invocation.abort.abort();
      }
      return {};
    },

    GetCommandInvocation: async (input) => {
      const command = this.#commands.get(input.CommandId);
      const invocation = command?.invocations.find(({ instanceId }) => instanceId === input.InstanceId);
      if (command === undefined || invocation === undefined) {
        throw new AwsError(
          'InvocationDoesNotExist',
          'The command ID and managed node ID you specified did not match any invocations.',
        );
      }
      const { steps } = invocation;
      const step = input.PluginName === undefined ? steps[0] : steps.find(({ name }) => name === input.PluginName);
      if (step === undefined || (input.PluginName === undefined && steps.length > 1)) {
        throw new AwsError(
          'InvalidPluginName',
          `Name one of the document's steps: ${steps.map(({ name }) => name).join(', ')}.`,
        );
      }
      // Of a document with one step the invocation itself is told: it knows of what never reached the step.
      const single = steps.length === 1;
      return {
        CommandId: command.commandId,
        InstanceId: invocation.instanceId,
        Comment: command.comment,
        DocumentName: command.documentName,
        DocumentVersion: command.documentVersion,
        PluginName: step.action,
        ResponseCode: step.responseCode,
        ExecutionStartDateTime: step.startedAt?.toISOString() ?? '',
        ExecutionEndDateTime: step.endedAt?.toISOString() ?? '',
        ExecutionElapsedTime:
          step.startedAt === undefined || step.endedAt === undefined
            ? ''
            : `PT${(step.endedAt.getTime() - step.startedAt.getTime()) / 1000}S`,
        Status: single ? invocation.status : step.status,
        StatusDetails: single ? invocation.statusDetails : step.statusDetails,
        StandardOutputContent: cut(step.stdout, outputLimit),
        StandardErrorContent: cut(step.stderr, errorLimit),
        StandardOutputUrl: '',
        StandardErrorUrl: '',
      };
    },

    ListCommandInvocations: async (input) => {
      const commands = input.CommandId === undefined ? [...this.#commands.values()] : [this.#command(input.CommandId)];
      const invocations = commands.flatMap((command) =>
        command.invocations
          .filter(({ instanceId }) => input.InstanceId === undefined || instanceId === input.InstanceId)
          .map(({ instanceId, status, statusDetails, steps }) => ({
            CommandId: command.commandId,
            InstanceId: instanceId,
            InstanceName: this.#instances.get(instanceId)?.name ?? '',
            Comment: command.comment,
            DocumentName: command.documentName,
            DocumentVersion: command.documentVersion,
            RequestedDateTime: command.requestedAt.getTime() / 1000,
            Status: status,
            StatusDetails: statusDetails,
            CommandPlugins:
              input.Details === true
                ? steps.map((step) => ({
                    Name: step.name,
                    Status: step.status,
                    StatusDetails: step.statusDetails,
                    ResponseCode: step.responseCode,
                    ...(step.startedAt === undefined ? {} : { ResponseStartDateTime: step.startedAt.getTime() / 1000 }),
                    ...(step.endedAt === undefined ? {} : { ResponseFinishDateTime: step.endedAt.getTime() / 1000 }),
                    // Run Command shows 2,500 characters of both outputs together here.
                    Output: cut(
                      step.stderr === '' ? step.stdout : `${step.stdout}\n----------ERROR-------\n${step.stderr}`,
                      2500,
                    ),
                  }))
                : [],
          })),
      );
      return { CommandInvocations: invocations };
    },

    ListCommands: async (input) => {
      const commands = [...this.#commands.values()].filter(
        (command) =>
          (input.CommandId === undefined || command.commandId === input.CommandId) &&
          (input.InstanceId === undefined ||
            command.invocations.some(({ instanceId }) => instanceId === input.InstanceId)),
      );
      return { Commands: commands.map((command) => this.#shown(command)).reverse() };
    },

    DescribeInstanceInformation: async (input) => {
      const filter: string[] | undefined = [...(input.Filters ?? []), ...(input.InstanceInformationFilterList ?? [])]
        .filter(({ Key, key }) => (Key ?? key) === 'InstanceIds')
        .flatMap(({ Values, valueSet }) => Values ?? valueSet ?? []);
      const wanted = [...this.#instances.values()].filter(
        ({ instanceId }) => filter.length === 0 || filter.includes(instanceId),
      );
      return {
        InstanceInformationList: wanted.map(({ instanceId, online, name, roleArn }) => ({
          InstanceId: instanceId,
          PingStatus: online === true ? 'Online' : online === 'ConnectionLost' ? 'ConnectionLost' : 'Inactive',
          LastPingDateTime: this.#options.now().getTime() / 1000,
          AgentVersion: '3.3.3572.0',
          IsLatestVersion: true,
          PlatformType: 'Linux',
          PlatformName: 'Debian GNU/Linux',
          PlatformVersion: '12',
          ResourceType: 'EC2Instance',
          IamRole: roleArn.split('/').at(-1),
          ComputerName: name ?? instanceId,
        })),
      };
    },
  };
}
