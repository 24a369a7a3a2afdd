/** One request as the router hands it on: read whole, its operation and caller already known. */
export interface ServiceRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** ARN of the caller, taken from the access key id: the signature itself is not verified. */
  readonly caller: string;
  /** From `X-Amz-Target`, the part after the dot; undefined for REST services. */
  readonly operation: string | undefined;
}

export interface ServiceResponse {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string;
}

/** One AWS service as the router sees it. */
export interface Service {
  /** The service's name in the SigV4 credential scope, such as `kms` or `states`. */
  readonly signingName: string;
  handle(request: ServiceRequest): Promise<ServiceResponse>;
}

/** A service that must stream (S3, DynamoDB): the router proxies to another origin without buffering. */
export interface ProxiedService {
  readonly signingName: string;
  /** Such as `http://127.0.0.1:8000`. */
  readonly origin: string;
}

/** An error as an AWS service answers it: `{"__type": code, "message": …}` and `x-amzn-errortype`. */
export class AwsError extends Error {
  readonly code: string;
  readonly status: number;

  constructor(code: string, message: string, status = 400) {
    super(message);
    this.name = code;
    this.code = code;
    this.status = status;
  }
}

/** What any error looks like on the wire. What is not an AwsError is a defect of the emulator: 500 InternalFailure with its message. */
export const errorResponse = (error: unknown): ServiceResponse => {
  const { code, status, message } =
    error instanceof AwsError
      ? error
      : {
          code: 'InternalFailure',
          status: 500,
          message: error instanceof Error ? (error.stack ?? error.message) : String(error),
        };
  return {
    status,
    headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amzn-errortype': code },
    body: JSON.stringify({ __type: code, message, Message: message }),
  };
};

/** One operation of an AWS JSON service: parsed input in, the output's members out. */
// biome-ignore lint/suspicious/noExplicitAny: the wire's input has no type before the operation reads it.
export type Operation = (input: any, caller: string) => Promise<object>;

/** A service of the AWS JSON protocol (`POST /` with `X-Amz-Target`). Unknown operations answer UnknownOperationException. */
export const awsJson = (signingName: string, operations: Readonly<Record<string, Operation>>): Service => ({
  signingName,
  async handle({ operation, body, caller }) {
    const run = operation !== undefined && Object.hasOwn(operations, operation) ? operations[operation] : undefined;
    if (run === undefined) {
      throw new AwsError('UnknownOperationException', `The local ${signingName} has no operation ${operation}.`);
    }
    let input: unknown;
    try {
      input = body.length === 0 ? {} : JSON.parse(body.toString('utf8'));
    } catch {
      throw new AwsError('SerializationException', 'The body is not JSON.');
    }
    return {
      status: 200,
      headers: { 'content-type': 'application/x-amz-json-1.1' },
      body: JSON.stringify(await run(input, caller)),
    };
  },
});
