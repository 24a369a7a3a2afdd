import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Stack } from 'aws-cdk-lib';
import { Asset } from 'aws-cdk-lib/aws-s3-assets';
import { CfnDocument } from 'aws-cdk-lib/aws-ssm';
import { Construct } from 'constructs';
import { installAgentDocument } from '../documents/install-agent.ts';
import { runAgentDocument } from '../documents/run-agent.ts';
import type { ControlFunction } from './control-function.ts';
import { CLUSTER_TAG } from './tags.ts';

export interface HostAgentProps {
  readonly controlPlane: string;
  /** The built agent. */
  readonly agentFile: string;
  readonly agentVersion: string;
}

/** The agent on the hosts: the file that is installed, and the two documents that install and run it. */
export class HostAgent extends Construct {
  readonly asset: Asset;
  readonly runDocument: string;
  readonly installDocument: string;

  constructor(scope: Construct, id: string, props: HostAgentProps) {
    super(scope, id);
    const sha256 = createHash('sha256').update(readFileSync(props.agentFile)).digest('hex');
    this.asset = new Asset(this, 'File', { path: props.agentFile });

    this.runDocument = `${props.controlPlane}-RunAgent`;
    new CfnDocument(this, 'RunAgent', {
      name: this.runDocument,
      documentType: 'Command',
      documentFormat: 'JSON',
      updateMethod: 'NewVersion',
      content: runAgentDocument(Stack.of(this).region),
    });
    this.installDocument = `${props.controlPlane}-InstallAgent`;
    new CfnDocument(this, 'InstallAgent', {
      name: this.installDocument,
      documentType: 'Command',
      documentFormat: 'JSON',
      updateMethod: 'NewVersion',
      content: installAgentDocument({
        url: this.asset.httpUrl,
        sha256,
        version: `${props.agentVersion}-${sha256.slice(0, 12)}`,
      }),
    });
  }
  /** Starts the agent, by its own document only and only on instances with the tag `redoubt-cluster`. */
  grantAsk(fn: ControlFunction): void {
    fn.addEnvironment('RUN_AGENT_DOCUMENT', this.runDocument);
    fn.allow({
      actions: ['ssm:SendCommand'],
      resources: [Stack.of(this).formatArn({ service: 'ssm', resource: 'document', resourceName: this.runDocument })],
    });
    fn.allow({
      actions: ['ssm:SendCommand'],
      resources: [
        Stack.of(this).formatArn({ service: 'ec2', resource: 'instance', resourceName: '*' }),
        Stack.of(this).formatArn({ service: 'ssm', resource: 'managed-instance', resourceName: '*' }),
      ],
      conditions: { StringLike: { [`ssm:resourceTag/${CLUSTER_TAG}`]: '*' } },
      wildcards: 'Which instances are hosts is said by their tag redoubt-cluster, which the condition asks for.',
    });
  }
  /** How a command ended, and to end it. Commands belong to no document or tag that a policy could name. */
  grantFollow(fn: ControlFunction): void {
    fn.allow({
      actions: ['ssm:GetCommandInvocation', 'ssm:CancelCommand'],
      resources: ['*'],
      wildcards: 'Systems Manager knows no resources for these actions.',
    });
  }
}
