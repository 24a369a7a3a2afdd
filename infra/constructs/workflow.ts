import { type Duration, RemovalPolicy } from 'aws-cdk-lib';
import { LogGroup, type RetentionDays } from 'aws-cdk-lib/aws-logs';
import { DefinitionBody, type IChainable, LogLevel, QueryLanguage, StateMachine } from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import type { ControlFunction } from './control-function.ts';
import { explainWildcards } from './explain-wildcards.ts';

export interface WorkflowProps {
  readonly name: string;
  readonly comment: string;
  readonly timeout: Duration;
  readonly logRetention: RetentionDays;
  /** Builds the states in the scope it is given. */
  readonly states: (scope: Construct) => IChainable;
  /** The functions its states call. */
  readonly calls: readonly ControlFunction[];
}

/** A state machine with its log. */
export class Workflow extends Construct {
  readonly stateMachine: StateMachine;

  constructor(scope: Construct, id: string, props: WorkflowProps) {
    super(scope, id);
    const logGroup = new LogGroup(this, 'Log', {
      // Under this prefix, the resource policy of CloudWatch Logs does not grow with each state machine.
      logGroupName: `/aws/vendedlogs/states/${props.name}`,
      retention: props.logRetention,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    this.stateMachine = new StateMachine(this, 'StateMachine', {
      stateMachineName: props.name,
      comment: props.comment,
      queryLanguage: QueryLanguage.JSONATA,
      definitionBody: DefinitionBody.fromChainable(props.states(this)),
      timeout: props.timeout,
      tracingEnabled: true,
      // Without the data of the states: INV-3, no task token and no grant token in a log.
      logs: { destination: logGroup, level: LogLevel.ALL, includeExecutionData: false },
      removalPolicy: RemovalPolicy.DESTROY,
    });
    explainWildcards(this, ['*'], 'Log delivery and traces have no resources to name.');
    explainWildcards(
      this,
      props.calls.map(({ fn }) => `${fn.functionArn}:*`),
      'CDK lets a state machine call every version of a function that it calls.',
    );
  }
}
