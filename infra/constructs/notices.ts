import { Stack } from 'aws-cdk-lib';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import { Construct } from 'constructs';

export interface NoticesProps {
  readonly controlPlane: string;
  readonly email: string | undefined;
}

/** Where people are told: of alarms, and of restores that wait for somebody's approval. */
export class Notices extends Construct {
  readonly topic: Topic;

  constructor(scope: Construct, id: string, { controlPlane, email }: NoticesProps) {
    super(scope, id);
    this.topic = new Topic(this, 'Topic', { displayName: `Redoubt (${controlPlane})`, enforceSSL: true });
    this.topic.addToResourcePolicy(
      new PolicyStatement({
        sid: 'Alarms',
        principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
        actions: ['sns:Publish'],
        resources: [this.topic.topicArn],
        conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(this).account } },
      }),
    );
    if (email) this.topic.addSubscription(new EmailSubscription(email));
  }
}
