import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import {
  DescribeExecutionCommand,
  GetExecutionHistoryCommand,
  SendTaskFailureCommand,
  SendTaskSuccessCommand,
  SFNClient,
  StartExecutionCommand,
} from '@aws-sdk/client-sfn';
import { GetParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import type { z } from 'zod';
import {
  type ApplyClusterAnswer,
  applyClusterAnswerSchema,
  type CatalogAnswer,
  type CatalogQuery,
  catalogAnswerSchemas,
} from '#core/catalog-queries.ts';
import {
  type ControlPlaneAddress,
  controlPlaneAddressSchema,
  controlPlaneParameter,
} from '#core/control-plane-address.ts';
import { type ErrorCode, RedoubtError } from '#core/errors.ts';
import {
  type RewrapAnswer,
  rewrapAnswerSchema,
  type rewrapRequestSchema,
  type ShredAnswer,
  shredAnswerSchema,
  type shredRequestSchema,
} from '#core/key-requests.ts';
import { awsFailure } from './aws-failure.ts';
import { executionFailure, lambdaFailure } from './reported-failure.ts';

export interface ControlPlaneOptions {
  readonly name: string;
  /** Else the SDK's own rules: AWS_REGION, the profile. */
  readonly region?: string | undefined;
  readonly profile?: string | undefined;
}

export type Workflow = keyof ControlPlaneAddress['stateMachines'];

/** An execution as Step Functions knows it: the only source for whether a run has ended. */
export type Execution =
  | { readonly status: 'running' }
  | { readonly status: 'succeeded'; readonly output: unknown }
  | { readonly status: 'failed' | 'aborted'; readonly failure: RedoubtError };

/**
 * The control plane of one name, in AWS or on this machine: only the endpoint differs (AWS_ENDPOINT_URL). Every method
 * throws RedoubtError: what the control plane refused by its own name; else AccessDenied, ControlPlaneUnreachable,
 * ServiceUnavailable, Unexpected.
 */
export interface ControlPlane {
  readonly address: ControlPlaneAddress;
  ask<Query extends CatalogQuery>(query: Query): Promise<CatalogAnswer<Query['query']>>;
  /** `file` is the YAML text of a cluster file. */
  apply(file: string, dryRun: boolean): Promise<ApplyClusterAnswer>;
  rewrapKeys(request: z.input<typeof rewrapRequestSchema>): Promise<RewrapAnswer>;
  shredKeys(request: z.input<typeof shredRequestSchema>): Promise<ShredAnswer>;
  /** Starts a workflow under the name `run`; answers the execution's ARN. Starting the same again changes nothing. */
  start(workflow: Workflow, run: string, input: object): Promise<string>;
  /** The ARN that `start` answered for this run. */
  executionOf(workflow: Workflow, run: string): string;
  /** `undefined` where there is none. */
  execution(arn: string): Promise<Execution | undefined>;
  /** The token with which the approval is answered that a restore waits for; `undefined` where it waits for none. */
  approvalToken(execution: string): Promise<string | undefined>;
  approve(token: string): Promise<void>;
  deny(token: string, reason: string): Promise<void>;
}

/** Throws ControlPlaneMissing where there is none of that name. */
export const findControlPlane = async ({ name, region, profile }: ControlPlaneOptions): Promise<ControlPlane> => {
  const settings = { ...(region && { region }), ...(profile && { profile }) };
  const parameter = controlPlaneParameter(name);
  const address = await readAddress(new SSMClient(settings), parameter);
  const lambda = new LambdaClient(settings);
  const stepFunctions = new SFNClient(settings);

  const invoke = async (functionName: string, input: object): Promise<unknown> => {
    const answer = await lambda
      .send(new InvokeCommand({ FunctionName: functionName, Payload: Buffer.from(JSON.stringify(input)) }))
      .catch((error: unknown) => {
        throw awsFailure(error, `invoking ${functionName}`);
      });
    const payload: unknown = JSON.parse(Buffer.from(answer.Payload ?? []).toString('utf8') || 'null');
    if (answer.FunctionError !== undefined) throw lambdaFailure(payload);
    return payload;
  };

  return {
    address,
    ask: async <Query extends CatalogQuery>(query: Query) => {
      const schema = catalogAnswerSchemas[query.query];
      return schema.parse(await invoke(address.functions.queryCatalog, query)) as CatalogAnswer<Query['query']>;
    },
    apply: async (file, dryRun) =>
      applyClusterAnswerSchema.parse(await invoke(address.functions.applyCluster, { file, dryRun })),
    rewrapKeys: async (request) => rewrapAnswerSchema.parse(await invoke(address.functions.rewrapKeys, request)),
    shredKeys: async (request) => shredAnswerSchema.parse(await invoke(address.functions.shredKeys, request)),
    start: async (workflow, run, input) => {
      const stateMachineArn = address.stateMachines[workflow];
      const answer = await stepFunctions
        .send(new StartExecutionCommand({ stateMachineArn, name: run, input: JSON.stringify(input) }))
        .catch((error: unknown) => {
          throw awsFailure(error, `starting ${stateMachineArn}`);
        });
      if (answer.executionArn === undefined)
        throw new RedoubtError('Unexpected', 'Step Functions answered no execution');
      return answer.executionArn;
    },
    executionOf: (workflow, run) =>
      `${address.stateMachines[workflow].replace(':stateMachine:', ':execution:')}:${run}`,
    execution: async (executionArn) => {
      const answer = await stepFunctions
        .send(new DescribeExecutionCommand({ executionArn }))
        .catch((error: unknown) => {
          if (error instanceof Error && error.name === 'ExecutionDoesNotExist') return undefined;
          throw awsFailure(error, `looking at ${executionArn}`);
        });
      switch (answer?.status) {
        case undefined:
          return undefined;
        case 'SUCCEEDED':
          return { status: 'succeeded', output: JSON.parse(answer.output ?? 'null') };
        case 'FAILED':
          return { status: 'failed', failure: executionFailure(answer.error, answer.cause) };
        case 'TIMED_OUT':
          return { status: 'failed', failure: new RedoubtError('RunCancelled', 'the execution timed out') };
        case 'ABORTED':
          return {
            status: 'aborted',
            failure: new RedoubtError('RunCancelled', answer.cause ?? 'the execution was aborted'),
          };
        default:
          return { status: 'running' };
      }
    },
    approvalToken: async (executionArn) => {
      const { events = [] } = await stepFunctions
        .send(new GetExecutionHistoryCommand({ executionArn, reverseOrder: true, includeExecutionData: true }))
        .catch((error: unknown) => {
          throw awsFailure(error, `reading the history of ${executionArn}`);
        });
      // Newest first: an execution that waits has submitted its request for approval and done nothing since.
      if (events[0]?.type !== 'TaskSubmitted') return undefined;
      const scheduled = events.find(({ type }) => type === 'TaskScheduled')?.taskScheduledEventDetails;
      if (scheduled?.resourceType !== 'sns') return undefined;
      return /--task-token ([^\s"\\]+)/.exec(scheduled.parameters ?? '')?.[1];
    },
    approve: async (taskToken) => {
      await stepFunctions.send(new SendTaskSuccessCommand({ taskToken, output: '{}' })).catch((error: unknown) => {
        throw awsFailure(error, 'approving');
      });
    },
    deny: async (taskToken, cause) => {
      const error: ErrorCode = 'ApprovalDenied';
      await stepFunctions.send(new SendTaskFailureCommand({ taskToken, error, cause })).catch((failure: unknown) => {
        throw awsFailure(failure, 'denying');
      });
    },
  };
};

const readAddress = async (ssm: SSMClient, parameter: string): Promise<ControlPlaneAddress> => {
  const answer = await ssm.send(new GetParameterCommand({ Name: parameter })).catch((error: unknown) => {
    if (error instanceof Error && error.name === 'ParameterNotFound')
      throw new RedoubtError('ControlPlaneMissing', `there is no SSM parameter ${parameter}`, { cause: error });
    throw awsFailure(error, `reading the SSM parameter ${parameter}`);
  });
  try {
    return controlPlaneAddressSchema.parse(JSON.parse(answer.Parameter?.Value ?? ''));
  } catch (error) {
    throw new RedoubtError('ControlPlaneMissing', `the SSM parameter ${parameter} is not of this version`, {
      cause: error,
    });
  }
};
