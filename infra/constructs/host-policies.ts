import { ManagedPolicy, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import type { BackupRepository } from './backup-repository.ts';
import { explainWildcards } from './explain-wildcards.ts';
import type { HostAgent } from './host-agent.ts';
import { CLUSTER_TAG } from './tags.ts';
import type { WorkflowNames } from './workflow-names.ts';

export interface HostPoliciesProps {
  readonly repository: BackupRepository;
  readonly agent: HostAgent;
  readonly workflows: WorkflowNames;
}

/** The tag of the role that asks: what makes one policy do for the hosts of every cluster. */
const OWN = `\${aws:PrincipalTag/${CLUSTER_TAG}}`;

const INSTRUCTION = 'instruction-*.json';
const PROGRESS = 'progress.json';

/**
 * What the role of a host's instance profile attaches. A role without the tag `redoubt-cluster` reaches no cluster at all.
 *
 * There is no KMS in it: a host opens a key by the grant of its run. And no listing and no deleting: a host that fell into wrong
 * hands can add, but neither look around nor destroy.
 */
export class HostPolicies extends Construct {
  /** For every host. */
  readonly host: ManagedPolicy;
  /** Beside the other one, for hosts that receive restores of clusters that are not their own. */
  readonly restoreHost: ManagedPolicy;

  constructor(scope: Construct, id: string, { repository, agent, workflows }: HostPoliciesProps) {
    super(scope, id);
    const ownBackups = repository.objects(`clusters/${OWN}/*`);
    const instructions = repository.objects(`runs/${OWN}/*/${INSTRUCTION}`);
    const reports = repository.objects(`runs/${OWN}/*/${PROGRESS}`);
    this.host = new ManagedPolicy(this, 'Host', {
      description: 'Lets a host back up and restore the cluster that its role is tagged with (redoubt-cluster)',
      statements: [
        new PolicyStatement({
          sid: 'OwnBackups',
          actions: [
            's3:GetObject',
            's3:GetObjectVersion',
            's3:PutObject',
            's3:AbortMultipartUpload',
            's3:ListMultipartUploadParts',
          ],
          resources: [ownBackups],
        }),
        new PolicyStatement({ sid: 'Instructions', actions: ['s3:GetObject'], resources: [instructions] }),
        new PolicyStatement({ sid: 'Reports', actions: ['s3:PutObject'], resources: [reports] }),
        new PolicyStatement({
          sid: 'Answer',
          actions: ['states:SendTaskSuccess', 'states:SendTaskFailure', 'states:SendTaskHeartbeat'],
          resources: [workflows.backUpArn, workflows.restoreArn],
        }),
        new PolicyStatement({
          sid: 'Agent',
          actions: ['s3:GetObject'],
          resources: [agent.asset.bucket.arnForObjects(agent.asset.s3ObjectKey)],
        }),
        // To download a file, the SSM agent first lists a folder of the file's name, and gives up where it may not.
        new PolicyStatement({
          sid: 'AgentIsAFile',
          actions: ['s3:ListBucket'],
          resources: [agent.asset.bucket.bucketArn],
          conditions: { StringEquals: { 's3:prefix': `${agent.asset.s3ObjectKey}/` } },
        }),
      ],
    });
    explainWildcards(this.host, [ownBackups], 'The backups of the cluster in the tag of the role.');
    explainWildcards(
      this.host,
      [instructions, reports],
      'Every run of the cluster has a folder of its own, whose name a host learns from its command: it may not list them.',
    );

    const anyBackups = repository.objects('clusters/*');
    const anyInstructions = repository.objects(`runs/*/${INSTRUCTION}`);
    const anyReports = repository.objects(`runs/*/${PROGRESS}`);
    this.restoreHost = new ManagedPolicy(this, 'RestoreHost', {
      description:
        'Lets a host read the backups of every cluster, to receive restores; the data stays sealed without a grant',
      statements: [
        new PolicyStatement({
          sid: 'AnyBackups',
          actions: ['s3:GetObject', 's3:GetObjectVersion'],
          resources: [anyBackups],
        }),
        new PolicyStatement({ sid: 'AnyInstructions', actions: ['s3:GetObject'], resources: [anyInstructions] }),
        new PolicyStatement({ sid: 'AnyReports', actions: ['s3:PutObject'], resources: [anyReports] }),
      ],
    });
    explainWildcards(
      this.restoreHost,
      [anyBackups, anyInstructions, anyReports],
      'A restore host receives restores of any cluster.',
    );
  }
}
