/**
 * The runtime inside a function's worker thread: loads the handler once and answers one event at a time. It runs alone in its
 * thread and imports nothing but Node's own modules.
 */
import { existsSync } from 'node:fs';
import { createRequire, registerHooks } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';

export interface WorkerSetup {
  /** Folder of the function's code. */
  readonly codeDirectory: string;
  /** Such as `index.handler`. */
  readonly handler: string;
}

export interface WorkerRequest {
  readonly payload: string;
  readonly context: {
    readonly functionName: string;
    readonly invokedFunctionArn: string;
    readonly memoryLimitInMB: string;
    readonly awsRequestId: string;
    readonly logGroupName: string;
    readonly logStreamName: string;
  };
  /** Milliseconds since 1970. */
  readonly deadline: number;
}

export interface FunctionError {
  readonly errorType: string;
  readonly errorMessage: string;
  readonly trace: readonly string[];
}

export type WorkerAnswer =
  | { readonly kind: 'ready' }
  | { readonly kind: 'result'; readonly payload: string }
  | { readonly kind: 'error'; readonly error: FunctionError };

type Handler = (event: unknown, context: object) => unknown;

/** Lambda's Node.js runtimes bring the AWS SDK along; CDK's bundles leave it out for that reason. */
const providedByRuntime = /^@(?:aws-sdk|smithy)\//;
const fromHere = createRequire(import.meta.url);
registerHooks({
  resolve(specifier, context, next) {
    try {
      return next(specifier, context);
    } catch (error) {
      if (!providedByRuntime.test(specifier)) {
        throw error;
      }
      return next(pathToFileURL(fromHere.resolve(specifier)).href, context);
    }
  },
});

const describe = (error: unknown): FunctionError =>
  error instanceof Error
    ? { errorType: error.name, errorMessage: error.message, trace: (error.stack ?? '').split('\n') }
    : { errorType: typeof error, errorMessage: String(error), trace: [] };

class RuntimeError extends Error {
  constructor(name: string, message: string) {
    super(message);
    this.name = name;
  }
}

const load = async ({ codeDirectory, handler }: WorkerSetup): Promise<Handler> => {
  const dot = handler.lastIndexOf('.');
  const [file, name] = [handler.slice(0, dot), handler.slice(dot + 1)];
  const path = ['.js', '.mjs', '.cjs'].map((extension) => join(codeDirectory, file + extension)).find(existsSync);
  if (path === undefined) {
    throw new RuntimeError('Runtime.ImportModuleError', `Error: Cannot find module '${file}'`);
  }
  const module = (await import(pathToFileURL(path).href)) as Record<string, unknown> & {
    default?: Record<string, unknown>;
  };
  const found = module[name] ?? module.default?.[name];
  if (typeof found !== 'function') {
    throw new RuntimeError('Runtime.HandlerNotFound', `${handler} is undefined or not exported`);
  }
  return found as Handler;
};

const port = parentPort;
if (port === null) {
  throw new Error('This file is the entry of a worker thread.');
}
const answer = (message: WorkerAnswer) => port.postMessage(message);

const serve = (handler: Handler) => {
  port.on('message', async ({ payload, context, deadline }: WorkerRequest) => {
    try {
      const result = await handler(JSON.parse(payload), {
        ...context,
        functionVersion: '$LATEST',
        callbackWaitsForEmptyEventLoop: true,
        getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
      });
      answer({ kind: 'result', payload: JSON.stringify(result) ?? 'null' });
    } catch (error) {
      // The runtime writes a failed invocation to the function's log.
      console.error(error);
      answer({ kind: 'error', error: describe(error) });
    }
  });
  answer({ kind: 'ready' });
};

load(workerData as WorkerSetup).then(serve, (error) => {
  console.error(error);
  answer({ kind: 'error', error: describe(error) });
});
