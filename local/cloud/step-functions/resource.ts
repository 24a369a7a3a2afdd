/** How a Task waits: for the answer, for the job, or for its task token. */
export type Pattern = 'requestResponse' | 'sync' | 'sync:2' | 'waitForTaskToken';

/** What a Task state's Resource asks for. */
export type Resource =
  | { readonly kind: 'lambda:invoke'; readonly pattern: Pattern }
  | { readonly kind: 'function'; readonly functionArn: string; readonly pattern: 'requestResponse' }
  | { readonly kind: 'events:putEvents'; readonly pattern: Pattern }
  | { readonly kind: 'sns:publish'; readonly pattern: Pattern }
  | { readonly kind: 'states:startExecution'; readonly pattern: Pattern }
  | {
      readonly kind: 'aws-sdk';
      readonly service: SdkService;
      readonly action: string;
      readonly pattern: Pattern;
      /** Optimized integrations spell the service in error names in their own way. */
      readonly errorPrefix: string;
    };

/** A service of the AWS JSON protocol that the `aws-sdk` integration reaches through the router. */
export interface SdkService {
  readonly signingName: string;
  readonly targetPrefix: string;
  readonly contentType: string;
  /** The wire has camelCase members, while Step Functions has PascalCase ones for every service. */
  readonly camelCase: boolean;
}

const json = (signingName: string, targetPrefix: string, version: '1.0' | '1.1', camelCase = false): SdkService => ({
  signingName,
  targetPrefix,
  contentType: `application/x-amz-json-${version}`,
  camelCase,
});

const sdkServices: Readonly<Record<string, { readonly service: SdkService; readonly errorPrefix: string }>> = {
  dynamodb: { service: json('dynamodb', 'DynamoDB_20120810', '1.0'), errorPrefix: 'DynamoDb' },
  kms: { service: json('kms', 'TrentService', '1.1'), errorPrefix: 'Kms' },
  ssm: { service: json('ssm', 'AmazonSSM', '1.1'), errorPrefix: 'Ssm' },
  sfn: { service: json('states', 'AWSStepFunctions', '1.0', true), errorPrefix: 'Sfn' },
  eventbridge: { service: json('events', 'AWSEvents', '1.1'), errorPrefix: 'EventBridge' },
};

const optimizedDynamoDb = ['getItem', 'putItem', 'updateItem', 'deleteItem'];

/** Reads a Resource; throws an Error for an integration that does not run locally. */
export const readResource = (arn: string): Resource => {
  if (/^arn:[\w-]+:lambda:/.test(arn)) {
    return { kind: 'function', functionArn: arn, pattern: 'requestResponse' };
  }
  const match = /^arn:[\w-]+:states:::(?<what>[\w:-]+?)(?:\.(?<pattern>waitForTaskToken|sync:2|sync))?$/.exec(arn);
  const what = match?.groups?.what;
  const pattern = (match?.groups?.pattern ?? 'requestResponse') as Pattern;
  switch (what) {
    case 'lambda:invoke':
    case 'events:putEvents':
    case 'sns:publish':
      if (pattern === 'requestResponse' || pattern === 'waitForTaskToken') {
        return { kind: what, pattern };
      }
      break;
    case 'states:startExecution':
      return { kind: what, pattern };
    default: {
      const [integration, second, third] = what?.split(':') ?? [];
      if (integration === 'dynamodb' && second !== undefined && optimizedDynamoDb.includes(second)) {
        const { service } = sdkServices.dynamodb as { service: SdkService };
        return { kind: 'aws-sdk', service, action: second, pattern, errorPrefix: 'DynamoDB' };
      }
      const sdk = integration === 'aws-sdk' && second !== undefined ? sdkServices[second] : undefined;
      if (
        sdk !== undefined &&
        third !== undefined &&
        (pattern === 'requestResponse' || pattern === 'waitForTaskToken')
      ) {
        return { kind: 'aws-sdk', action: third, pattern, ...sdk };
      }
    }
  }
  throw new Error(`The local Step Functions has no integration ${arn}.`);
};

/** `resourceType` and `resource` as the history names them, such as `lambda` and `invoke.waitForTaskToken`. */
export const namesInHistory = (arn: string): { readonly resourceType: string; readonly resource: string } => {
  const parts = arn.split(':::')[1]?.split(':') ?? ['lambda', arn];
  const [resourceType, ...rest] = parts[0] === 'aws-sdk' ? [`aws-sdk:${parts[1]}`, ...parts.slice(2)] : parts;
  return { resourceType: resourceType ?? '', resource: rest.join(':') };
};
