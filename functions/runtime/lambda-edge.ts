import type { Logger } from '@aws-lambda-powertools/logger';
import { injectLambdaContext } from '@aws-lambda-powertools/logger/middleware';
import middy, { type MiddlewareObj } from '@middy/core';
import type { z } from 'zod';
import { asRedoubtError, RedoubtError } from '#core/errors.ts';
import { parseInput } from './parse-input.ts';
import { powertoolsLog } from './powertools-log.ts';

/** What every handler has around it. */
export interface Edge {
  readonly logger: Logger;
}

const parsedInput = (schema: z.ZodType): MiddlewareObj => ({
  before: (request) => {
    request.event = parseInput(schema, request.event);
  },
});

/**
 * Lets every error leave as a RedoubtError: Lambda answers its `name` as `errorType`, and a state machine catches by that. Of a
 * cause only the name is logged: messages of SDK errors may repeat what was sent, a task token for one.
 */
const namedErrors = ({ logger }: Edge): MiddlewareObj => ({
  onError: (request) => {
    const error = asRedoubtError(request.error);
    powertoolsLog(logger).error('invocation-failed', {
      error: error.code,
      detail: error.detail,
      cause: error.cause instanceof Error ? error.cause.name : undefined,
      stack: error.code === 'Unexpected' && error.cause instanceof Error ? stackOf(error.cause) : undefined,
    });
    request.error = error;
  },
});

const stackOf = (error: Error): string => (error.stack ?? '').split('\n').slice(1).join('\n');

/** Time left to log the error when a function runs into its timeout. */
const EARLY_MILLISECONDS = 200;

/**
 * The one middy stack. The official validator and error middlewares are not in it: input is checked by the same zod schemas
 * that type it, and errors have to keep their name.
 */
export const lambdaEdge = <Schema extends z.ZodType, Output>(
  edge: Edge,
  schema: Schema,
  act: (input: z.output<Schema>) => Promise<Output>,
): ((event: unknown, context: object) => Promise<Output>) => {
  const stack = middy({
    timeoutEarlyInMillis: EARLY_MILLISECONDS,
    timeoutEarlyResponse: () => {
      throw new RedoubtError(
        'ServiceUnavailable',
        'the function ran out of time before the services it asked answered',
      );
    },
  })
    .use(injectLambdaContext(edge.logger, { resetKeys: true }))
    .use(namedErrors(edge))
    .use(parsedInput(schema))
    .handler((input) => act(input as z.output<Schema>));
  return stack as unknown as (event: unknown, context: object) => Promise<Output>;
};
