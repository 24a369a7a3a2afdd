import type { Template } from 'aws-cdk-lib/assertions';
import { beforeAll, describe, expect, it } from 'vitest';
import { flatten } from './flat-text.ts';
import { allowing, type FlatStatement, listOf } from './statements-of.ts';
import { SYNTH_MILLISECONDS, synthesize } from './synthesize.ts';

let host: readonly FlatStatement[];
let restoreHost: readonly FlatStatement[];

const managedPolicy = (template: Template, id: RegExp): readonly FlatStatement[] => {
  const [, policy] =
    Object.entries(template.findResources('AWS::IAM::ManagedPolicy')).find(([key]) => id.test(key)) ?? [];
  return flatten(policy?.Properties.PolicyDocument.Statement) as FlatStatement[];
};

beforeAll(async () => {
  const { controlPlane } = await synthesize();
  host = managedPolicy(controlPlane, /^HostPoliciesHost/);
  restoreHost = managedPolicy(controlPlane, /^HostPoliciesRestoreHost/);
}, SYNTH_MILLISECONDS);

const resourcesOf = (statements: readonly FlatStatement[], action: string) =>
  allowing(statements, action)
    .flatMap(({ Resource }) => listOf(Resource))
    .map((resource) => resource.replace(/^<Repository\w+>/, '<repository>'));

/** A policy variable of IAM: the tag of the role that asks. */
const own = '$' + '{aws:PrincipalTag/redoubt-cluster}';
const ownCluster = `<repository>/clusters/${own}/*`;
const ownInstructions = `<repository>/runs/${own}/*/instruction-*.json`;
const ownReports = `<repository>/runs/${own}/*/progress.json`;

describe('the policy of a host', () => {
  it('lets it write the backups of the cluster that its role is tagged with, and the reports of its runs', () => {
    expect(resourcesOf(host, 's3:PutObject')).toEqual([ownCluster, ownReports]);
  });

  it('lets it read the backups and the instructions of that cluster and the agent, and nothing else', () => {
    expect(resourcesOf(host, 's3:GetObject')).toEqual([
      ownCluster,
      ownInstructions,
      expect.stringMatching(/^arn:<AWS::Partition>:s3:::cdk-\w+-assets-<AWS::AccountId>-<AWS::Region>\/[0-9a-f.]+$/),
    ]);
  });

  it('does not let it write an instruction', () => {
    expect(resourcesOf(host, 's3:PutObject').filter((resource) => resource.includes('instruction'))).toEqual([]);
  });

  it('does not let it look around: it may list the one name that the SSM agent asks about before a download', () => {
    expect(allowing(host, 's3:ListBucket')).toEqual([
      expect.objectContaining({
        Resource: expect.stringContaining(':s3:::cdk-'),
        Condition: { StringEquals: { 's3:prefix': expect.stringMatching(/^[0-9a-f.]+\/$/) } },
      }),
    ]);
  });

  it('lets it answer tasks of the two state machines', () => {
    for (const action of ['states:SendTaskSuccess', 'states:SendTaskFailure', 'states:SendTaskHeartbeat']) {
      expect(resourcesOf(host, action)).toEqual([
        'arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:stateMachine:redoubt-back-up',
        'arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:stateMachine:redoubt-restore',
      ]);
    }
  });

  it('has no key, no catalog, no deleting and no starting in it', () => {
    const actions = host.flatMap(({ Action }) => listOf(Action));
    expect(actions.filter((action) => /^(kms|dynamodb|ssm|lambda|iam):|Delete|StartExecution|\*/.test(action))).toEqual(
      [],
    );
  });
});

describe('the policy of a restore host', () => {
  it('adds that it may read the backups and instructions of every cluster and report on their runs, and nothing else', () => {
    expect(restoreHost.flatMap(({ Action }) => listOf(Action))).toEqual([
      's3:GetObject',
      's3:GetObjectVersion',
      's3:GetObject',
      's3:PutObject',
    ]);
    expect(resourcesOf(restoreHost, 's3:GetObjectVersion')).toEqual(['<repository>/clusters/*']);
    expect(resourcesOf(restoreHost, 's3:GetObject')).toEqual([
      '<repository>/clusters/*',
      '<repository>/runs/*/instruction-*.json',
    ]);
    expect(resourcesOf(restoreHost, 's3:PutObject')).toEqual(['<repository>/runs/*/progress.json']);
  });
});
