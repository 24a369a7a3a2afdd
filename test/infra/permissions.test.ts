import type { Template } from 'aws-cdk-lib/assertions';
import { beforeAll, describe, expect, it } from 'vitest';
import { keyPurposeSchema } from '#core/wrapped-key.ts';
import { flatten } from './flat-text.ts';
import { allowing, type FlatStatement, listOf, statementsOf } from './statements-of.ts';
import { SYNTH_MILLISECONDS, synthesize } from './synthesize.ts';

const folders = [
  'plan-backup',
  'plan-restore',
  'ask-host',
  'record-backup',
  'settle-run',
  'report-command-end',
  'apply-cluster',
  'query-catalog',
  'report-stale-clusters',
  'rewrap-keys',
  'shred-keys',
] as const;

let template: Template;
let permissions: Readonly<Record<(typeof folders)[number], readonly FlatStatement[]>>;

beforeAll(async () => {
  ({ controlPlane: template } = await synthesize());
  permissions = Object.fromEntries(folders.map((folder) => [folder, statementsOf(template, folder)])) as never;
}, SYNTH_MILLISECONDS);

const roleOf = (folder: string) => {
  const fn = Object.values(template.findResources('AWS::Lambda::Function')).find(
    ({ Properties }) => Properties.FunctionName === `redoubt-${folder}`,
  );
  return template.findResources('AWS::IAM::Role')[fn?.Properties.Role['Fn::GetAtt'][0]];
};

const mayDo = (action: string) => folders.filter((folder) => allowing(permissions[folder], action).length > 0);

describe('the functions', () => {
  it('are all here', () => {
    expect(
      Object.values(template.findResources('AWS::Lambda::Function')).map(({ Properties }) => Properties.FunctionName),
    ).toEqual(folders.map((folder) => `redoubt-${folder}`));
  });

  it.each(folders)('%s has an action of every service by its name, none by a wildcard', (folder) => {
    expect(
      permissions[folder].flatMap(({ Action }) => listOf(Action)).filter((action) => action.includes('*')),
    ).toEqual([]);
  });

  it.each(folders)('%s may trace and follow commands everywhere, and do nothing else everywhere', (folder) => {
    const everywhere = permissions[folder]
      .filter(({ Resource }) => listOf(Resource).includes('*'))
      .flatMap(({ Action }) => listOf(Action));
    const follow = ['ssm:CancelCommand', 'ssm:GetCommandInvocation'];
    const trace = ['xray:PutTelemetryRecords', 'xray:PutTraceSegments'];
    expect(everywhere.filter((action) => !follow.includes(action)).sort()).toEqual(trace);
  });

  it.each(folders)('%s may not decrypt anything or see a plaintext key', (folder) => {
    const actions = permissions[folder].flatMap(({ Action }) => listOf(Action));
    expect(
      actions.filter((action) =>
        /^kms:(Decrypt|Encrypt|DeriveSharedSecret|GenerateDataKey|GenerateDataKeyPair|GenerateRandom)$/.test(action),
      ),
    ).toEqual([]);
  });

  it.each(folders)('%s has the tag that lets a function of the control plane clean up', (folder) => {
    expect(roleOf(folder)?.Properties.Tags).toContainEqual({ Key: 'redoubt-control-plane', Value: 'redoubt' });
  });
});

describe('keys', () => {
  it('are made by the backup plan only, wrapped, and bound to a cluster, a chain and a purpose', () => {
    expect(mayDo('kms:GenerateDataKeyWithoutPlaintext')).toEqual(['plan-backup']);
    expect(allowing(permissions['plan-backup'], 'kms:GenerateDataKeyWithoutPlaintext')).toEqual([
      expect.objectContaining({
        Resource: expect.stringMatching(/^<DataKey/),
        Condition: {
          'ForAllValues:StringEquals': { 'kms:EncryptionContextKeys': ['cluster', 'chain', 'purpose'] },
          Null: { 'kms:EncryptionContext:cluster': 'false', 'kms:EncryptionContext:chain': 'false' },
          StringEquals: { 'kms:EncryptionContext:purpose': keyPurposeSchema.options },
        },
      }),
    ]);
  });

  it('are lent by the plans only: to decrypt and nothing else, for one chain, to a role', () => {
    expect(mayDo('kms:CreateGrant')).toEqual(['plan-backup', 'plan-restore']);
    for (const folder of ['plan-backup', 'plan-restore'] as const) {
      expect(allowing(permissions[folder], 'kms:CreateGrant')).toEqual([
        expect.objectContaining({
          Action: 'kms:CreateGrant',
          Resource: expect.stringMatching(/^<DataKey/),
          Condition: {
            'ForAllValues:StringEquals': { 'kms:GrantOperations': ['Decrypt'] },
            Null: {
              'kms:GrantOperations': 'false',
              'kms:EncryptionContext:cluster': 'false',
              'kms:EncryptionContext:chain': 'false',
            },
            StringEquals: { 'kms:GrantConstraintType': 'EncryptionContextSubset' },
            ArnLike: { 'kms:GranteePrincipal': 'arn:<AWS::Partition>:iam::<AWS::AccountId>:role/*' },
          },
        }),
      ]);
    }
  });
});

describe('keys that move', () => {
  const otherKey = 'arn:aws:kms:us-east-1:444455556666:key/mrk-1';

  it('are wrapped anew by rewrap-keys only, in the context of a chain', () => {
    for (const action of ['kms:ReEncryptFrom', 'kms:ReEncryptTo']) {
      expect(mayDo(action)).toEqual(['rewrap-keys']);
      expect(allowing(permissions['rewrap-keys'], action)).toEqual([
        expect.objectContaining({
          Resource: expect.stringMatching(/^<DataKey/),
          Condition: expect.objectContaining({
            'ForAllValues:StringEquals': { 'kms:EncryptionContextKeys': ['cluster', 'chain', 'purpose'] },
          }),
        }),
      ]);
    }
  });

  it('go to the keys that the deployment names, and are lent and taken back under those too', async () => {
    const { controlPlane } = await synthesize({ otherKeys: [otherKey] });
    for (const [folder, action] of [
      ['rewrap-keys', 'kms:ReEncryptTo'],
      ['plan-backup', 'kms:CreateGrant'],
      ['plan-restore', 'kms:CreateGrant'],
      ['plan-backup', 'kms:ListGrants'],
      ['plan-backup', 'kms:RevokeGrant'],
      ['settle-run', 'kms:RevokeGrant'],
      ['shred-keys', 'kms:RevokeGrant'],
    ] as const) {
      const [statement] = allowing(statementsOf(controlPlane, folder), action);
      expect(listOf(statement?.Resource).toSorted(), folder).toEqual([expect.stringMatching(/^<DataKey/), otherKey]);
    }
    const [making] = allowing(statementsOf(controlPlane, 'plan-backup'), 'kms:GenerateDataKeyWithoutPlaintext');
    expect(making?.Resource).toMatch(/^<DataKey/);
  });
});

describe('hosts', () => {
  it('are sent a command by ask-host only', () => {
    expect(mayDo('ssm:SendCommand')).toEqual(['ask-host']);
  });

  it('are sent the document that runs the agent and no other, and only where they carry the tag of a cluster', () => {
    const statements = allowing(permissions['ask-host'], 'ssm:SendCommand');
    expect(statements).toHaveLength(2);
    expect(statements).toContainEqual(
      expect.objectContaining({
        Resource: 'arn:<AWS::Partition>:ssm:<AWS::Region>:<AWS::AccountId>:document/redoubt-RunAgent',
      }),
    );
    expect(statements).toContainEqual(
      expect.objectContaining({
        Resource: [
          'arn:<AWS::Partition>:ec2:<AWS::Region>:<AWS::AccountId>:instance/*',
          'arn:<AWS::Partition>:ssm:<AWS::Region>:<AWS::AccountId>:managed-instance/*',
        ],
        Condition: { StringLike: { 'ssm:resourceTag/redoubt-cluster': '*' } },
      }),
    );
  });
});

describe('the repository', () => {
  const resourcesOf = (folder: (typeof folders)[number], action: string) =>
    allowing(permissions[folder], action).flatMap(({ Resource }) => listOf(Resource));
  const manifests = expect.stringMatching(/^<Repository.*>\/clusters\/\*\/manifest\.json$/);
  const instructions = expect.stringMatching(/^<Repository.*>\/runs\/\*\/instruction-\*\.json$/);

  it('is written to by ask-host, instructions only, and by those who change keys or give a backup up, manifests only', () => {
    expect(mayDo('s3:PutObject')).toEqual(['plan-backup', 'ask-host', 'settle-run', 'rewrap-keys', 'shred-keys']);
    expect(resourcesOf('ask-host', 's3:PutObject')).toEqual([instructions]);
    for (const folder of ['plan-backup', 'settle-run', 'rewrap-keys', 'shred-keys'] as const)
      expect(resourcesOf(folder, 's3:PutObject')).toEqual([manifests]);
  });

  it('is cleared up by those who may find left-overs, below clusters/ only, and where keys are shredded', () => {
    expect(mayDo('s3:DeleteObject')).toEqual(['plan-backup', 'settle-run', 'shred-keys']);
    for (const folder of ['plan-backup', 'settle-run'] as const) {
      for (const resource of resourcesOf(folder, 's3:DeleteObject'))
        expect(resource).toMatch(/^<Repository.*>\/clusters\/\*$/);
    }
    expect(resourcesOf('shred-keys', 's3:DeleteObject')).toEqual([manifests, instructions]);
  });

  it('loses versions to shred-keys only: of manifests and instructions', () => {
    expect(mayDo('s3:DeleteObjectVersion')).toEqual(['shred-keys']);
    expect(resourcesOf('shred-keys', 's3:DeleteObjectVersion')).toEqual([manifests, instructions]);
  });

  it('tells by tags who changes keys and who shreds them', () => {
    const tagged = (key: string) =>
      folders.filter((folder) => {
        const tags = roleOf(folder)?.Properties.Tags as readonly { readonly Key: string; readonly Value: string }[];
        return tags.some((tag) => tag.Key === key && tag.Value === 'redoubt');
      });
    expect(tagged('redoubt-keys')).toEqual(['rewrap-keys', 'shred-keys']);
    expect(tagged('redoubt-shred')).toEqual(['shred-keys']);
  });
});

describe('executions', () => {
  it('are started by schedules and by the form only', () => {
    expect(mayDo('states:StartExecution')).toEqual([]);
    const starting = Object.values(template.findResources('AWS::IAM::Policy')).filter(({ Properties }) =>
      JSON.stringify(Properties.PolicyDocument).includes('states:StartExecution'),
    );
    expect(starting.map(({ Properties }) => Properties.Roles[0].Ref)).toEqual([
      expect.stringMatching(/^SchedulesRole/),
      expect.stringMatching(/^RestoreFormRole/),
    ]);
  });

  it('have a task failed by report-command-end only, and only of the two state machines', () => {
    expect(mayDo('states:SendTaskFailure')).toEqual(['report-command-end']);
    expect(mayDo('states:SendTaskSuccess')).toEqual([]);
    expect(allowing(permissions['report-command-end'], 'states:SendTaskFailure')[0]?.Resource).toEqual([
      'arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:stateMachine:redoubt-back-up',
      'arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:stateMachine:redoubt-restore',
    ]);
  });
});

describe('schedules', () => {
  it('are kept by apply-cluster, in the group of this control plane', () => {
    expect(mayDo('scheduler:CreateSchedule')).toEqual(['apply-cluster']);
    expect(allowing(permissions['apply-cluster'], 'scheduler:CreateSchedule')[0]?.Resource).toBe(
      'arn:<AWS::Partition>:scheduler:<AWS::Region>:<AWS::AccountId>:schedule/redoubt/*',
    );
  });

  it('are handed the scheduler role, and no other role is handed to anybody', () => {
    expect(mayDo('iam:PassRole')).toEqual(['apply-cluster']);
    expect(allowing(permissions['apply-cluster'], 'iam:PassRole')).toEqual([
      expect.objectContaining({
        Resource: expect.stringMatching(/^<SchedulesRole\w+\.Arn>$/),
        Condition: { StringEquals: { 'iam:PassedToService': 'scheduler.amazonaws.com' } },
      }),
    ]);
  });

  it('can start backups and nothing else', () => {
    const policy = Object.values(template.findResources('AWS::IAM::Policy')).find(({ Properties }) =>
      Properties.Roles[0].Ref.startsWith('SchedulesRole'),
    );
    expect(policy?.Properties.PolicyDocument.Statement).toHaveLength(1);
    expect(JSON.stringify(policy?.Properties.PolicyDocument.Statement[0])).toContain(':stateMachine:redoubt-back-up');
  });
});

describe('the check for stale clusters', () => {
  it('reads the catalog and does nothing else', () => {
    const actions = permissions['report-stale-clusters'].flatMap(({ Action }) => listOf(Action));
    expect(actions.filter((action) => !/^(logs|xray):/.test(action)).sort()).toEqual([
      'dynamodb:BatchGetItem',
      'dynamodb:GetItem',
      'dynamodb:Query',
      'dynamodb:Query',
    ]);
  });

  it('is started every quarter of an hour, by a role that can start it and nothing else', () => {
    const policy = Object.values(template.findResources('AWS::IAM::Policy')).find(({ Properties }) =>
      Properties.Roles[0].Ref.startsWith('StalenessCheckRole'),
    );
    expect(flatten(policy?.Properties.PolicyDocument.Statement)).toEqual([
      {
        Action: 'lambda:InvokeFunction',
        Effect: 'Allow',
        Resource: expect.stringMatching(/^<ReportStaleClusters\w+\.Arn>$/),
      },
    ]);
    template.hasResourceProperties('AWS::Scheduler::Schedule', {
      GroupName: 'redoubt',
      ScheduleExpression: 'rate(15 minutes)',
      Target: { Input: '{}' },
    });
  });
});

describe('the catalog', () => {
  it('is changed by none of those that only answer or report', () => {
    expect(mayDo('dynamodb:PutItem')).toEqual(
      folders.filter((folder) => !['query-catalog', 'report-command-end', 'report-stale-clusters'].includes(folder)),
    );
  });

  it('is scanned by nobody', () => {
    expect(mayDo('dynamodb:Scan')).toEqual([]);
  });
});
