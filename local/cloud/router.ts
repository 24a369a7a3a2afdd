import { randomUUID } from 'node:crypto';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Principals } from './principals.ts';
import type { Fault, FaultInjector } from './s3/fault-injector.ts';
import { AwsError, errorResponse, type ProxiedService, type Service, type ServiceResponse } from './service.ts';

export interface RouterOptions {
  readonly services: readonly (Service | ProxiedService)[];
  readonly principals: Principals;
  /** 0, the default, takes any free port. */
  readonly port?: number;
  /** What goes wrong with calls of the JSON services, for tests. A rule's operations are such as `dynamodb:PutItem`. */
  readonly faults?: FaultInjector;
}

export interface Router {
  /** Such as `http://127.0.0.1:4566`: what AWS_ENDPOINT_URL is set to. */
  readonly endpoint: string;
  close(): Promise<void>;
}

/** Tells a proxied service who calls: the caller's ARN. */
export const callerHeader = 'x-redoubt-caller';

/** What the target prefixes of AWS JSON services stand for, for requests that are not signed. */
const signingNames: Readonly<Record<string, string>> = {
  DynamoDB_20120810: 'dynamodb',
  TrentService: 'kms',
  AmazonSSM: 'ssm',
  AWSStepFunctions: 'states',
  AWSEvents: 'events',
};

/** JSON services of AWS take a few megabytes at most; what streams is proxied and has no limit here. */
const bodyLimit = 16 * 1024 * 1024;

interface Credential {
  readonly accessKeyId: string | undefined;
  readonly signingName: string | undefined;
}

/**
 * Starts the one endpoint of the local cloud, on loopback only. The service is the one named in the SigV4 credential scope, of the
 * Authorization header or of a presigned URL. Signatures are NOT verified: whoever names an access key id is its principal, which
 * is fit for one machine and its own user, and for nothing else. `/_redoubt/` is the router's own: `/_redoubt/health` lists the services.
 */
export const startRouter = async ({ services, principals, port = 0, faults }: RouterOptions): Promise<Router> => {
  const byName = new Map(services.map((service) => [service.signingName, service]));

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', `http://${request.headers.host ?? '127.0.0.1'}`);
    if (url.pathname.startsWith('/_redoubt/')) {
      control(url, response, [...byName.keys()]);
      return;
    }
    const { accessKeyId, signingName } = credentialOf(request, url);
    const service = signingName === undefined ? undefined : byName.get(signingName);
    if (service === undefined) {
      throw signingName === undefined
        ? new AwsError(
            'MissingAuthenticationToken',
            'The request is not signed, so the local cloud cannot tell its service.',
            403,
          )
        : new AwsError(
            'UnknownService',
            `The local cloud has no service ${signingName}; it has ${[...byName.keys()].join(', ')}.`,
            501,
          );
    }
    const caller = principals.arnOf(accessKeyId);
    const operation = targetOf(request)?.[1];
    if (faults !== undefined && operation !== undefined)
      suffer(faults.faultsFor({ operation: `${signingName}:${operation}`, key: '', caller }));
    if ('origin' in service) {
      await proxy(service, request, response, caller);
      return;
    }
    const answer = await service.handle({
      method: request.method ?? 'GET',
      url,
      headers: flatHeaders(request),
      body: await readBody(request),
      caller,
      operation,
    });
    send(response, answer);
  };

  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (response.headersSent) {
        response.destroy(error as Error);
      } else {
        send(response, errorResponse(error));
      }
    });
  });
  // A backup's upload may well take longer than Node's default of five minutes.
  server.requestTimeout = 0;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error === undefined ? resolve() : reject(error)));
        server.closeAllConnections();
      }),
  };
};

const control = (url: URL, response: ServerResponse, services: readonly string[]): void => {
  const known = url.pathname === '/_redoubt/health';
  send(response, {
    status: known ? 200 : 404,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(known ? { status: 'ok', services } : { error: `There is no ${url.pathname}.` }),
  });
};

/** Answers as the fault wants it. Bodies of JSON services are read whole, so there is nothing else to go wrong with them. */
const suffer = (faults: readonly Fault[]): void => {
  for (const fault of faults) {
    if (fault.kind !== 'error') throw new Error(`A call of a JSON service has no fault ${fault.kind}.`);
    throw new AwsError(fault.code, 'A fault of a test.', fault.status);
  }
};

/** `AKID/20261122/us-east-1/kms/aws4_request`; SigV4A leaves the region out. */
const credentialOf = (request: IncomingMessage, url: URL): Credential => {
  const header = /Credential=([^,\s]+)/.exec(request.headers.authorization ?? '')?.[1];
  const parts = (header ?? url.searchParams.get('X-Amz-Credential') ?? '').split('/');
  return {
    accessKeyId: parts[0] === '' ? undefined : parts[0],
    signingName: parts.length >= 4 ? parts.at(-2) : signingNames[targetOf(request)?.[0] ?? ''],
  };
};

const targetOf = (request: IncomingMessage): [prefix: string, operation: string] | undefined => {
  const target = request.headers['x-amz-target'];
  const dot = typeof target === 'string' ? target.lastIndexOf('.') : -1;
  return typeof target === 'string' && dot > 0 ? [target.slice(0, dot), target.slice(dot + 1)] : undefined;
};

const flatHeaders = ({ headers }: IncomingMessage): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value]],
    ),
  );

const readBody = async (request: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > bodyLimit) {
      throw new AwsError('RequestEntityTooLargeException', `The body has more than ${bodyLimit} bytes.`, 413);
    }
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
};

const send = (response: ServerResponse, { status, headers = {}, body = '' }: ServiceResponse): void => {
  response.writeHead(status, {
    ...headers,
    'x-amzn-requestid': randomUUID(),
    'content-length': String(Buffer.byteLength(body)),
  });
  response.end(body);
};

/** Hands the request on as it is, Host header included, with the caller added; both bodies stream. */
const proxy = (
  service: ProxiedService,
  request: IncomingMessage,
  response: ServerResponse,
  caller: string,
): Promise<void> =>
  new Promise((resolve, reject) => {
    const onward = httpRequest(
      new URL(request.url ?? '/', service.origin),
      { method: request.method, headers: { ...request.headers, [callerHeader]: caller } },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
        answer.pipe(response);
        answer.once('error', reject);
        response.once('close', resolve);
      },
    );
    onward.once('error', (error) =>
      reject(
        new AwsError(
          'ServiceUnavailable',
          `The local ${service.signingName} at ${service.origin}: ${error.message}`,
          503,
        ),
      ),
    );
    // `Expect: 100-continue` was already answered by this server; the body flows either way.
    request.pipe(onward);
    response.once('close', () => {
      if (!response.writableFinished) {
        onward.destroy();
      }
    });
  });
