import { randomUUID } from 'node:crypto';
import { appendFileSync, createWriteStream, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { Worker } from 'node:worker_threads';
import { accountId, type Principals, region } from '../principals.ts';
import { AwsError, type Service } from '../service.ts';
import type { FunctionError, WorkerAnswer, WorkerRequest, WorkerSetup } from './lambda-worker.ts';

/** A function as its template declares it. */
export interface LambdaFunction {
  readonly name: string;
  readonly arn: string;
  readonly roleArn: string;
  readonly handler: string;
  /** Folder with the code. */
  readonly codeDirectory: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly timeoutSeconds: number;
  readonly memoryMegabytes: number;
  /** At most so many events at a time; further ones are refused with TooManyRequestsException. */
  readonly reservedConcurrency: number | undefined;
  /** For asynchronous invocations. */
  readonly maximumRetryAttempts: number;
}

export interface Invocation {
  /** JSON: the handler's result, or the FunctionError. */
  readonly payload: string;
  readonly functionError: 'Unhandled' | undefined;
}

export interface LambdaFunctionsOptions {
  /** The AWS endpoint that handlers see; read at each cold start, as it is only known once the router listens. */
  readonly endpoint: () => string;
  readonly principals: Principals;
  /** Gets `<function>.log`: what the handlers write, and the runtime's START, END and error lines. */
  readonly logDirectory: string;
}

/** Workers per function when the template reserves no concurrency; further events wait for a free one. */
const poolSize = 4;

/** Lambda waits one and then two minutes before it retries an asynchronous event; here it is seconds. */
const asynchronousRetryDelays = [1000, 2000];

const workerFile = new URL('./lambda-worker.ts', import.meta.url);

/** One worker thread with the handler loaded: one execution environment. */
class Environment {
  readonly #worker: Worker;
  #settle: ((answer: WorkerAnswer) => void) | undefined;
  /** Answers that came while nobody waited, such as the failure to load. */
  readonly #early: WorkerAnswer[] = [];
  ended = false;

  constructor(worker: Worker) {
    this.#worker = worker;
    const deliver = (answer: WorkerAnswer) => {
      const settle = this.#settle;
      this.#settle = undefined;
      if (settle === undefined) {
        this.#early.push(answer);
      } else {
        settle(answer);
      }
    };
    worker.on('message', deliver);
    worker.on('error', (error: Error & { code?: string }) => {
      this.ended = true;
      deliver({
        kind: 'error',
        error: {
          errorType:
            error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? 'Runtime.OutOfMemory' : (error.name ?? 'Runtime.Unknown'),
          errorMessage: error.message ?? String(error),
          trace: (error.stack ?? '').split('\n'),
        },
      });
    });
    worker.on('exit', (code) => {
      this.ended = true;
      deliver({
        kind: 'error',
        error: {
          errorType: 'Runtime.ExitError',
          errorMessage: `Error: Runtime exited with error: exit status ${code}`,
          trace: [],
        },
      });
    });
  }

  /** The next answer; undefined when it does not come in time, and the environment is then gone. */
  async next(milliseconds: number): Promise<WorkerAnswer | undefined> {
    const early = this.#early.shift();
    if (early !== undefined) {
      return early;
    }
    const { promise, resolve } = Promise.withResolvers<WorkerAnswer | undefined>();
    this.#settle = resolve;
    const timer = setTimeout(() => resolve(undefined), milliseconds);
    const answer = await promise;
    clearTimeout(timer);
    if (answer === undefined) {
      this.#settle = undefined;
      await this.end();
    }
    return answer;
  }

  send(request: WorkerRequest): void {
    this.#worker.postMessage(request);
  }

  async end(): Promise<void> {
    this.ended = true;
    await this.#worker.terminate();
  }
}

/** The environments of one function, kept warm, and the events that wait for one. */
class FunctionPool {
  readonly declared: LambdaFunction;
  readonly #start: () => Worker;
  readonly #log: (line: string) => void;
  readonly #idle: Environment[] = [];
  readonly #all = new Set<Environment>();
  readonly #waiting: (() => void)[] = [];
  #busy = 0;

  constructor(declared: LambdaFunction, start: () => Worker, log: (line: string) => void) {
    this.declared = declared;
    this.#start = start;
    this.#log = log;
  }

  async invoke(payload: string): Promise<Invocation> {
    const { reservedConcurrency } = this.declared;
    if (reservedConcurrency !== undefined && this.#busy >= reservedConcurrency) {
      throw new AwsError('TooManyRequestsException', 'Rate Exceeded.', 429);
    }
    if (this.#busy >= poolSize) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#busy += 1;
    try {
      return await this.#run(payload);
    } finally {
      this.#busy -= 1;
      this.#waiting.shift()?.();
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#all].map((environment) => environment.end()));
  }

  async #run(payload: string): Promise<Invocation> {
    const { name, arn, timeoutSeconds, memoryMegabytes } = this.declared;
    const requestId = randomUUID();
    this.#log(`START RequestId: ${requestId} Version: $LATEST`);
    const begun = Date.now();
    const environment = this.#warm() ?? (await this.#coldStart());
    if (!(environment instanceof Environment)) {
      return this.#failed(requestId, environment);
    }
    environment.send({
      payload,
      deadline: Date.now() + timeoutSeconds * 1000,
      context: {
        functionName: name,
        invokedFunctionArn: arn,
        memoryLimitInMB: String(memoryMegabytes),
        awsRequestId: requestId,
        logGroupName: `/aws/lambda/${name}`,
        logStreamName: 'local',
      },
    });
    const answer = await environment.next(timeoutSeconds * 1000);
    if (environment.ended) {
      this.#all.delete(environment);
    } else {
      this.#idle.push(environment);
    }
    if (answer === undefined) {
      return this.#failed(requestId, {
        errorType: 'Sandbox.Timedout',
        errorMessage: `RequestId: ${requestId} Error: Task timed out after ${timeoutSeconds.toFixed(2)} seconds`,
        trace: [],
      });
    }
    if (answer.kind !== 'result') {
      return this.#failed(
        requestId,
        answer.kind === 'error'
          ? answer.error
          : { errorType: 'Runtime.Unknown', errorMessage: 'No answer.', trace: [] },
      );
    }
    this.#log(`END RequestId: ${requestId} Duration: ${Date.now() - begun} ms`);
    return { payload: answer.payload, functionError: undefined };
  }

  /** An idle environment; one that died of what its last event left running is passed over. */
  #warm(): Environment | undefined {
    let environment = this.#idle.pop();
    while (environment?.ended === true) {
      this.#all.delete(environment);
      environment = this.#idle.pop();
    }
    return environment;
  }

  /** Lambda gives the init phase ten seconds. */
  async #coldStart(): Promise<Environment | FunctionError> {
    const environment = new Environment(this.#start());
    this.#all.add(environment);
    const answer = await environment.next(10_000);
    if (answer?.kind === 'ready') {
      return environment;
    }
    await environment.end();
    this.#all.delete(environment);
    return answer?.kind === 'error'
      ? answer.error
      : { errorType: 'Sandbox.Timedout', errorMessage: 'The init phase took longer than 10 seconds.', trace: [] };
  }

  #failed(requestId: string, { errorType, errorMessage, trace }: FunctionError): Invocation {
    this.#log(`END RequestId: ${requestId} ERROR ${errorType}: ${errorMessage}`);
    return {
      payload: JSON.stringify({ errorType, errorMessage, ...(trace.length === 0 ? {} : { trace }) }),
      functionError: 'Unhandled',
    };
  }
}

/**
 * Runs the handlers of the synthesized functions in worker threads of this process. Their environment has what the template
 * declares and what Lambda itself sets, and their credentials are those of the function's role.
 */
export class LambdaFunctions {
  readonly service: Service;
  readonly #options: LambdaFunctionsOptions;
  readonly #pools = new Map<string, FunctionPool>();
  #closed = false;

  constructor(options: LambdaFunctionsOptions) {
    this.#options = options;
    mkdirSync(options.logDirectory, { recursive: true });
    this.service = { signingName: 'lambda', handle: async (request) => this.#handle(request) };
  }

  addFunction(declared: LambdaFunction): void {
    const file = join(this.#options.logDirectory, `${declared.name}.log`);
    const log = (line: string) => appendFileSync(file, `${line}\n`);
    this.#pools.set(declared.name, new FunctionPool(declared, () => this.#startWorker(declared, file), log));
  }

  /** Invokes by name, ARN or qualified ARN and waits. Throws ResourceNotFoundException and TooManyRequestsException. */
  async invoke(nameOrArn: string, payload: string): Promise<Invocation> {
    return this.#pool(nameOrArn).invoke(payload);
  }

  /**
   * Invokes asynchronously: a failed or refused event is tried again, by default twice, and then given up with a line in the
   * function's log. There are no dead-letter queues and no destinations.
   */
  invokeLater(nameOrArn: string, payload: string): void {
    const pool = this.#pool(nameOrArn);
    const delays = asynchronousRetryDelays.slice(0, pool.declared.maximumRetryAttempts);
    const attempt = async (made: number): Promise<void> => {
      const failure = await pool.invoke(payload).then(
        ({ functionError, payload: answer }) => (functionError === undefined ? undefined : answer),
        (error: unknown) => String(error),
      );
      const delay = delays[made];
      if (failure === undefined || this.#closed) {
        return;
      }
      if (delay === undefined) {
        appendFileSync(
          join(this.#options.logDirectory, `${pool.declared.name}.log`),
          `GAVE UP an asynchronous event after ${made + 1} attempts: ${failure}\n`,
        );
        return;
      }
      setTimeout(() => void attempt(made + 1), delay).unref();
    };
    void attempt(0);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#pools.values()].map((pool) => pool.close()));
  }

  #pool(nameOrArn: string): FunctionPool {
    const name = /(?:^|:function:)(?<name>[\w-]+)(?::[\w$-]+)?$/.exec(nameOrArn)?.groups?.name ?? '';
    const pool = this.#pools.get(name);
    if (pool === undefined) {
      throw new AwsError(
        'ResourceNotFoundException',
        `Function not found: arn:aws:lambda:${region}:${accountId}:function:${name === '' ? nameOrArn : name}`,
        404,
      );
    }
    return pool;
  }

  #startWorker(declared: LambdaFunction, logFile: string): Worker {
    const { accessKeyId, secretAccessKey } = this.#options.principals.credentialsFor(declared.roleArn);
    const setup: WorkerSetup = { codeDirectory: declared.codeDirectory, handler: declared.handler };
    const worker = new Worker(workerFile, {
      workerData: setup,
      name: declared.name,
      // Not the options of whatever runs the local cloud, such as a test runner's loaders.
      execArgv: [],
      env: {
        ...declared.environment,
        AWS_REGION: region,
        AWS_DEFAULT_REGION: region,
        AWS_ENDPOINT_URL: this.#options.endpoint(),
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
        AWS_LAMBDA_FUNCTION_NAME: declared.name,
        AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(declared.memoryMegabytes),
        AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${declared.name}`,
        AWS_LAMBDA_LOG_STREAM_NAME: 'local',
        AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs24.x',
        LAMBDA_TASK_ROOT: declared.codeDirectory,
        _HANDLER: declared.handler,
        TZ: ':UTC',
      },
      resourceLimits: { maxOldGenerationSizeMb: declared.memoryMegabytes },
      stdout: true,
      stderr: true,
    });
    const log = createWriteStream(logFile, { flags: 'a' });
    for (const output of [worker.stdout, worker.stderr] as Readable[]) {
      output.pipe(log, { end: false });
    }
    worker.on('exit', () => log.end());
    worker.unref();
    return worker;
  }

  async #handle({ method, url, headers, body }: Parameters<Service['handle']>[0]) {
    const match = /^\/2015-03-31\/functions\/(?<name>[^/]+)\/invocations$/.exec(url.pathname);
    if (match === null || method !== 'POST') {
      throw new AwsError(
        'UnknownOperationException',
        `The local Lambda knows Invoke only, not ${method} ${url.pathname}.`,
        404,
      );
    }
    const name = decodeURIComponent(match.groups?.name ?? '');
    const payload = body.length === 0 ? '{}' : body.toString('utf8');
    try {
      JSON.parse(payload);
    } catch (error) {
      throw new AwsError(
        'InvalidRequestContentException',
        `Could not parse request body into json: ${(error as Error).message}`,
      );
    }
    switch (headers['x-amz-invocation-type'] ?? 'RequestResponse') {
      case 'Event':
        this.invokeLater(name, payload);
        return { status: 202 };
      case 'DryRun':
        this.#pool(name);
        return { status: 204 };
      default: {
        const { payload: answer, functionError } = await this.invoke(name, payload);
        return {
          status: 200,
          headers: {
            'content-type': 'application/json',
            'x-amz-executed-version': '$LATEST',
            ...(functionError === undefined ? {} : { 'x-amz-function-error': functionError }),
          },
          body: answer,
        };
      }
    }
  }
}
