import { ArnFormat, Stack } from 'aws-cdk-lib';
import { PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { CfnDocument } from 'aws-cdk-lib/aws-ssm';
import { Construct } from 'constructs';
import { restoreFormDocument } from '../documents/restore-form.ts';
import { explainWildcards } from './explain-wildcards.ts';
import type { WorkflowNames } from './workflow-names.ts';

export interface RestoreFormProps {
  readonly controlPlane: string;
  readonly workflows: WorkflowNames;
}

/** The form that restores from the Systems Manager console, with a role that can start that one state machine and follow it. */
export class RestoreForm extends Construct {
  readonly document: string;

  constructor(scope: Construct, id: string, { controlPlane, workflows }: RestoreFormProps) {
    super(scope, id);
    const role = new Role(this, 'Role', {
      description: 'Lets the restore form start restores',
      assumedBy: new ServicePrincipal('ssm.amazonaws.com', {
        conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(this).account } },
      }),
    });
    role.addToPolicy(new PolicyStatement({ actions: ['states:StartExecution'], resources: [workflows.restoreArn] }));
    const executions = Stack.of(this).formatArn({
      service: 'states',
      resource: 'execution',
      resourceName: `${workflows.restore}:*`,
      arnFormat: ArnFormat.COLON_RESOURCE_NAME,
    });
    // The action follows its execution, and stops it when the automation is cancelled.
    role.addToPolicy(
      new PolicyStatement({ actions: ['states:DescribeExecution', 'states:StopExecution'], resources: [executions] }),
    );
    explainWildcards(role, [executions], 'The executions of the one state machine it starts.');

    this.document = `${controlPlane}-Restore`;
    new CfnDocument(this, 'Document', {
      name: this.document,
      documentType: 'Automation',
      documentFormat: 'JSON',
      updateMethod: 'NewVersion',
      content: restoreFormDocument({ stateMachineArn: workflows.restoreArn, roleArn: role.roleArn }),
    });
  }
}
