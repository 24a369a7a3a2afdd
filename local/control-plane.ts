import { createReadStream, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { ListCommandInvocationsCommand, SendCommandCommand, SSMClient } from '@aws-sdk/client-ssm';
import {
  type ControlPlaneAddress,
  controlPlaneAddressSchema,
  controlPlaneParameter,
} from '#core/control-plane-address.ts';
import { accountId, operatorArn, region } from './cloud/principals.ts';
import type { S3 } from './cloud/s3/start-s3.ts';
import type { Ssm } from './cloud/ssm/ssm.ts';
import { dynamoDbPart, kmsPart, s3Part, ssmPart } from './cloud/standard-services.ts';
import { type Cloud, type CreatePart, startCloud } from './cloud/start-cloud.ts';
import { readAssembly } from './cloud/template/read-assembly.ts';
import { synthesize } from './synthesize.ts';

/** A host of this machine, as EC2 and Systems Manager would know it. */
export interface LocalHost {
  /** `i-…` */
  readonly instance: string;
  /** ARN of the role of its instance profile. */
  readonly role: string;
  /** Value of the tag `redoubt-cluster` of that role and of the instance. */
  readonly cluster: string;
  /** What the SSM agent writes, and the agent below `agent`, goes here. */
  readonly directory: string;
  /** What the SSM agent, and so the agent, finds in its environment; nothing by default. */
  readonly environment?: Readonly<Record<string, string>>;
}

export interface LocalControlPlaneOptions {
  /** Keeps the repository, the catalog, keys and logs from one start to the next. */
  readonly stateDirectory: string;
  readonly hosts: readonly LocalHost[];
  /** 0, the default, takes any free port. */
  readonly port?: number;
  readonly heartbeatSeconds?: number;
  /** How long a second between two tries of a workflow's task lasts, for tests; 1000 by default. */
  readonly millisecondsPerRetrySecond?: number;
  /** An agent that was built elsewhere, instead of `dist/redoubt-agent`. */
  readonly agentFile?: string;
  /** Another DynamoDB than the standard one, such as one that counts. */
  readonly dynamoDb?: CreatePart;
  /** Hears what is being done, as a short sentence. */
  readonly onProgress?: (doing: string) => void;
}

export interface LocalControlPlane {
  readonly name: string;
  readonly cloud: Cloud;
  readonly ssm: Ssm;
  readonly s3: S3;
  readonly address: ControlPlaneAddress;
  /** What makes `redoubt`, or any AWS client, talk to it: the operator's keys and the endpoint. */
  readonly environment: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

/** The directory that `host`'s cluster file names as `agentDirectory`. */
export const agentDirectoryOf = (host: LocalHost): string => join(host.directory, 'agent');

const name = 'redoubt';
const cacheDirectory = join(import.meta.dirname, '..', '.cache', 'local-control-plane');

/**
 * Deploys the control plane on this machine: synthesizes the stacks, makes their resources in the local cloud, uploads the assets, and
 * installs the agent on every host through its SSM document. Throws with nothing left running.
 */
export const startControlPlane = async (options: LocalControlPlaneOptions): Promise<LocalControlPlane> => {
  const {
    stateDirectory,
    hosts,
    port = 0,
    heartbeatSeconds = 60,
    millisecondsPerRetrySecond = 1000,
    agentFile,
    dynamoDb = dynamoDbPart,
    onProgress = () => {},
  } = options;
  onProgress('synthesizing the stacks');
  const cdkOut = await synthesize(cacheDirectory, { deployment: { name, heartbeatSeconds }, agentFile });
  onProgress('making their resources');
  let ssm: Ssm | undefined;
  let s3: S3 | undefined;
  const cloud = await startCloud({
    cdkOut,
    stateDirectory,
    port,
    millisecondsPerRetrySecond,
    services: [
      kmsPart,
      s3Part((started) => {
        s3 = started;
      }),
      dynamoDb,
      ssmPart((started) => {
        ssm = started;
      }),
    ],
    roles: hosts.map(({ role, cluster }) => ({
      arn: role,
      tags: { 'redoubt-cluster': cluster },
      managedPolicies: ['HostPoliciesHost'],
    })),
  });
  try {
    if (ssm === undefined || s3 === undefined) throw new Error('the local cloud lacks a service');
    const { accessKeyId, secretAccessKey } = cloud.principals.credentialsFor(operatorArn);
    const environment = {
      AWS_ENDPOINT_URL: cloud.endpoint,
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
    };
    const settings = { endpoint: cloud.endpoint, region, credentials: { accessKeyId, secretAccessKey } };
    const parameter = cloud.resources.find(
      (resource) => resource.type === 'AWS::SSM::Parameter' && resource.name === controlPlaneParameter(name),
    );
    const address = controlPlaneAddressSchema.parse(JSON.parse(String(parameter?.properties.Value)));
    onProgress('uploading the agent');
    await uploadAssets(new S3Client({ ...settings, forcePathStyle: true }), cdkOut);
    for (const host of hosts) {
      onProgress(`installing the agent on ${host.instance}`);
      ssm.register({
        instanceId: host.instance,
        roleArn: host.role,
        directory: host.directory,
        environment: host.environment ?? {},
        online: true,
      });
      await installAgent(new SSMClient(settings), address.documents.installAgent, host);
    }
    return { name, cloud, ssm, s3, address, environment, close: () => cloud.close() };
  } catch (error) {
    await cloud.close();
    throw error;
  }
};

/** What `cdk deploy` does before the stacks: every file asset into the bucket it is said to be in. */
const uploadAssets = async (s3: S3Client, cdkOut: string): Promise<void> => {
  for (const asset of readAssembly(cdkOut).fileAssets) {
    const { path, objectKey: Key } = asset;
    const Bucket = asset.bucket.replace(/\$\{AWS::AccountId\}/, accountId).replace(/\$\{AWS::Region\}/, region);
    await s3.send(new CreateBucketCommand({ Bucket })).catch((error: Error) => {
      if (error.name !== 'BucketAlreadyOwnedByYou' && error.name !== 'BucketAlreadyExists') throw error;
    });
    await s3.send(
      new PutObjectCommand({ Bucket, Key, Body: createReadStream(path), ContentLength: statSync(path).size }),
    );
  }
};

/** Runs the InstallAgent document on `host`, as an operator does, and waits for its end. */
const installAgent = async (ssm: SSMClient, document: string, host: LocalHost): Promise<void> => {
  const { Command: command } = await ssm.send(
    new SendCommandCommand({
      DocumentName: document,
      InstanceIds: [host.instance],
      Parameters: { AgentDirectory: [agentDirectoryOf(host)] },
    }),
  );
  for (;;) {
    const { CommandInvocations: [invocation] = [] } = await ssm.send(
      new ListCommandInvocationsCommand({ CommandId: command?.CommandId, InstanceId: host.instance, Details: true }),
    );
    const { Status: status = 'Pending', CommandPlugins: steps = [] } = invocation ?? {};
    if (status === 'Success') return;
    if (status !== 'Pending' && status !== 'InProgress' && status !== 'Delayed')
      throw new Error(
        `${document} ended ${status} on ${host.instance}:\n${steps.map(({ Name, Output }) => `${Name}: ${Output}`).join('\n')}`,
      );
    await sleep(100);
  }
};
