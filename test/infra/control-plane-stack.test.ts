import { Match, type Template } from 'aws-cdk-lib/assertions';
import { beforeAll, describe, expect, it } from 'vitest';
import { controlPlaneAddressSchema } from '#core/control-plane-address.ts';
import { flatText } from './flat-text.ts';
import { SYNTH_MILLISECONDS, synthesize } from './synthesize.ts';

let template: Template;

beforeAll(async () => {
  ({ controlPlane: template } = await synthesize());
}, SYNTH_MILLISECONDS);

describe('the control plane', () => {
  it('keeps nothing: neither a bucket nor a table nor a key', () => {
    for (const type of ['AWS::S3::Bucket', 'AWS::DynamoDB::Table', 'AWS::KMS::Key']) template.resourceCountIs(type, 0);
  });

  it('needs no resource that runs code of CDK', () => {
    const types = Object.values(template.toJSON().Resources as Record<string, { Type: string }>).map(
      ({ Type }) => Type,
    );
    expect(
      types.filter((type) => type.startsWith('Custom::') || type === 'AWS::CloudFormation::CustomResource'),
    ).toEqual([]);
  });

  it('publishes where it is, in the form that the redoubt command reads', () => {
    const [parameter] = Object.values(template.findResources('AWS::SSM::Parameter'));
    expect(parameter?.Properties.Name).toBe('/redoubt/redoubt/control-plane');
    const value = flatText(parameter?.Properties.Value)
      // What CloudFormation puts in there is an ARN.
      .replaceAll(/"(<(?:HostPolicies|DataKey|BackUp|Restore)[^"]*)"/g, '"arn:$1"');
    const address = controlPlaneAddressSchema.parse(JSON.parse(value));
    expect(address.documents).toEqual({
      runAgent: 'redoubt-RunAgent',
      installAgent: 'redoubt-InstallAgent',
      restore: 'redoubt-Restore',
    });
    expect(address.functions.applyCluster).toMatch(/^<ApplyClusterFunction/);
    expect(address.functions.queryCatalog).toMatch(/^<QueryCatalogFunction/);
    expect(address.stateMachines.backup).toMatch(/^arn:<BackUpStateMachine/);
    expect(address.stateMachines.restore).toMatch(/^arn:<RestoreStateMachine/);
  });

  it('can stand twice in one account and region, under two names', async () => {
    const { controlPlane: other } = await synthesize({ name: 'second' });
    const names = (from: Template) =>
      Object.values(from.toJSON().Resources as Record<string, { Properties?: Record<string, unknown> }>).flatMap(
        ({ Properties = {} }) =>
          ['Name', 'FunctionName', 'StateMachineName', 'LogGroupName', 'AlarmName', 'RoleName']
            .map((property) => Properties[property])
            .filter((value) => typeof value === 'string'),
      );
    expect(names(template).length).toBeGreaterThan(20);
    expect(names(other).filter((name) => names(template).includes(name))).toEqual([]);
  });
});

describe('what ends outside of a state machine', () => {
  it('a command of the agent that ended badly is reported, and no other command', () => {
    template.hasResourceProperties('AWS::Events::Rule', {
      EventPattern: {
        source: ['aws.ssm'],
        'detail-type': ['EC2 Command Invocation Status-change Notification'],
        detail: {
          'document-name': ['redoubt-RunAgent'],
          status: Match.arrayWith(['Failed', 'TimedOut', 'Cancelled', 'Undeliverable', 'Terminated']),
        },
      },
      Targets: [Match.objectLike({ Arn: { 'Fn::GetAtt': [Match.stringLikeRegexp('^ReportCommandEnd'), 'Arn'] } })],
    });
  });

  it('a command that succeeded is not', () => {
    for (const { Properties } of Object.values(template.findResources('AWS::Events::Rule')))
      expect(Properties.EventPattern.detail.status).not.toContain('Success');
  });

  it('an execution that was stopped, timed out or failed has its run settled', () => {
    template.hasResourceProperties('AWS::Events::Rule', {
      EventPattern: {
        source: ['aws.states'],
        'detail-type': ['Step Functions Execution Status Change'],
        detail: { status: ['ABORTED', 'TIMED_OUT', 'FAILED'], stateMachineArn: Match.anyValue() },
      },
      Targets: [Match.objectLike({ Arn: { 'Fn::GetAtt': [Match.stringLikeRegexp('^SettleRun'), 'Arn'] } })],
    });
  });
});

describe('the log of a state machine', () => {
  it('has every event but none of its data: no task token, no grant token', () => {
    template.allResourcesProperties('AWS::StepFunctions::StateMachine', {
      LoggingConfiguration: { Level: 'ALL', IncludeExecutionData: false },
      TracingConfiguration: { Enabled: true },
    });
  });
});
