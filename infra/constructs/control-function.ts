import { join } from 'node:path';
import { type Duration, RemovalPolicy, Tags } from 'aws-cdk-lib';
import { PolicyStatement, type PolicyStatementProps, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Architecture, Runtime, Tracing } from 'aws-cdk-lib/aws-lambda';
import { LogLevel, NodejsFunction, OutputFormat, SourceMapMode } from 'aws-cdk-lib/aws-lambda-nodejs';
import { LogGroup, type RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { METRIC_NAMESPACE } from '#core/metric-names.ts';
import { explainWildcards } from './explain-wildcards.ts';
import { CONTROL_PLANE_TAG } from './tags.ts';

const root = join(import.meta.dirname, '..', '..');

export interface ControlFunctionProps {
  readonly controlPlane: string;
  /** The folder in functions/ whose handler.ts it is. */
  readonly folder: string;
  readonly description: string;
  readonly timeout: Duration;
  readonly memoryMegabytes?: number;
  readonly logRetention: RetentionDays;
}

export interface Allowance {
  readonly actions: readonly string[];
  readonly resources: readonly string[];
  readonly conditions?: PolicyStatementProps['conditions'];
  /** Why a resource holds a wildcard; cdk-nag refuses one that is not explained. */
  readonly wildcards?: string;
}

/** A function of the control plane, with a role of its own that may write its log and nothing else until it is allowed more. */
export class ControlFunction extends Construct {
  readonly fn: NodejsFunction;
  readonly #role: Role;

  constructor(scope: Construct, id: string, props: ControlFunctionProps) {
    super(scope, id);
    const functionName = `${props.controlPlane}-${props.folder}`;
    const logGroup = new LogGroup(this, 'Log', {
      logGroupName: `/aws/lambda/${functionName}`,
      retention: props.logRetention,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    this.#role = new Role(this, 'Role', {
      assumedBy: new ServicePrincipal('lambda.amazonaws.com'),
      description: `Of the function ${functionName}`,
    });
    Tags.of(this.#role).add(CONTROL_PLANE_TAG, props.controlPlane);
    this.fn = new NodejsFunction(this, 'Function', {
      functionName,
      description: props.description,
      entry: join(root, 'functions', props.folder, 'handler.ts'),
      handler: 'handler',
      projectRoot: root,
      depsLockFilePath: join(root, 'package-lock.json'),
      runtime: Runtime.NODEJS_24_X,
      architecture: Architecture.ARM_64,
      memorySize: props.memoryMegabytes ?? 512,
      timeout: props.timeout,
      role: this.#role,
      logGroup,
      tracing: Tracing.ACTIVE,
      bundling: {
        format: OutputFormat.ESM,
        target: 'node24',
        mainFields: ['module', 'main'],
        // With the SDK in it a deployment runs what was tested, whatever the runtime brings.
        bundleAwsSDK: true,
        minify: true,
        keepNames: true,
        sourceMap: true,
        sourceMapMode: SourceMapMode.DEFAULT,
        sourcesContent: false,
        logLevel: LogLevel.WARNING,
        // Dependencies in CommonJS call require for Node's own modules.
        banner: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
      },
      environment: {
        NODE_OPTIONS: '--enable-source-maps',
        POWERTOOLS_SERVICE_NAME: props.folder,
        POWERTOOLS_METRICS_NAMESPACE: METRIC_NAMESPACE,
        POWERTOOLS_LOG_LEVEL: 'INFO',
      },
    });
    this.allow({ actions: ['logs:CreateLogStream', 'logs:PutLogEvents'], resources: [logGroup.logGroupArn] });
    explainWildcards(this, ['*'], 'Traces have no resources to name.');
  }

  /** Of its role: what bucket policies go by. */
  addTag(name: string, value: string): void {
    Tags.of(this.#role).add(name, value);
  }

  addEnvironment(name: string, value: string): void {
    this.fn.addEnvironment(name, value);
  }

  allow({ actions, resources, conditions, wildcards }: Allowance): void {
    this.#role.addToPolicy(
      new PolicyStatement({ actions: [...actions], resources: [...resources], ...(conditions && { conditions }) }),
    );
    if (wildcards) explainWildcards(this, resources, wildcards);
  }
}
