import { type Principals, region } from '../principals.ts';

// biome-ignore lint/suspicious/noExplicitAny: clients and commands are looked up by name.
type SdkModule = Readonly<Record<string, any>>;

/** The clients of the services that Automation may call, by the names that documents use for them. */
const clients: Readonly<Record<string, { readonly load: () => Promise<SdkModule>; readonly client: string }>> = {
  stepfunctions: { load: () => import('@aws-sdk/client-sfn'), client: 'SFNClient' },
  ssm: { load: () => import('@aws-sdk/client-ssm'), client: 'SSMClient' },
  s3: { load: () => import('@aws-sdk/client-s3'), client: 'S3Client' },
  kms: { load: () => import('@aws-sdk/client-kms'), client: 'KMSClient' },
  dynamodb: { load: () => import('@aws-sdk/client-dynamodb'), client: 'DynamoDBClient' },
  lambda: { load: () => import('@aws-sdk/client-lambda'), client: 'LambdaClient' },
  events: { load: () => import('@aws-sdk/client-eventbridge'), client: 'EventBridgeClient' },
  scheduler: { load: () => import('@aws-sdk/client-scheduler'), client: 'SchedulerClient' },
};

const aliases: Readonly<Record<string, string>> = {
  states: 'stepfunctions',
  sfn: 'stepfunctions',
  eventbridge: 'events',
};

export type CallApi = (
  service: string,
  api: string,
  input: Readonly<Record<string, unknown>>,
  principal: string,
) => Promise<Readonly<Record<string, unknown>>>;

/** Calls an AWS API by the name of its service and operation, as a principal, through the one endpoint. */
export const createCallApi =
  ({ endpoint, principals }: { readonly endpoint: () => string; readonly principals: Principals }): CallApi =>
  async (service, api, input, principal) => {
    const lower = service.toLowerCase();
    const entry = clients[aliases[lower] ?? lower];
    if (entry === undefined) throw new Error(`The local Automation has no client of ${service}.`);
    const sdk = await entry.load();
    // Documents write either `StartExecution` or `start_execution`.
    const operation = api.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const Command = sdk[`${operation}Command`];
    if (Command === undefined) throw new Error(`${service} has no API ${api}.`);
    const client = new sdk[entry.client]({
      region,
      endpoint: endpoint(),
      credentials: principals.credentialsFor(principal),
    });
    try {
      const { $metadata: _, ...output } = await client.send(new Command(input));
      return output;
    } finally {
      client.destroy();
    }
  };
