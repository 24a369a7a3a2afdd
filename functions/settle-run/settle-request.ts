import { z } from 'zod';
import { answerSchema } from '#core/agent-protocol.ts';
import { type ClusterId, clusterIdSchema, type RunId, runIdSchema } from '#core/ids.ts';

/** From the last step of a state machine. */
const stepSchema = z.object({
  run: runIdSchema,
  execution: z.string(),
  outcome: z.enum(['succeeded', 'failed']),
  startedAt: z.iso.datetime().optional(),
  /** Whatever the execution was started with: a name that no cluster can have is as good as none. */
  cluster: clusterIdSchema.optional().catch(undefined),
  error: z.string().optional(),
  cause: z.string().optional(),
  answer: answerSchema.optional(),
});

/** From EventBridge, for an execution that ended without its last step. */
const eventSchema = z.object({
  'detail-type': z.literal('Step Functions Execution Status Change'),
  detail: z.object({
    name: z.string(),
    executionArn: z.string(),
    /** Epoch milliseconds. */
    startDate: z.number().optional(),
    status: z.enum(['SUCCEEDED', 'FAILED', 'TIMED_OUT', 'ABORTED']),
    /** JSON; absent where it is too large for an event. */
    input: z.string().nullish(),
    error: z.string().nullish(),
    cause: z.string().nullish(),
  }),
});

/** How a run ended, whoever says so. */
export interface SettleRequest {
  readonly run: RunId;
  /** ARN of the execution that ended: another one's run is not settled, though it has the same name. */
  readonly execution: string;
  readonly outcome: 'succeeded' | 'failed' | 'aborted';
  /** With what follows, for a run that ended before its plan was written. */
  readonly cluster?: ClusterId;
  readonly startedAt?: string;
  readonly error?: string;
  readonly cause?: string;
  readonly answer?: z.output<typeof answerSchema>;
}

const outcomes = { SUCCEEDED: 'succeeded', FAILED: 'failed', TIMED_OUT: 'failed', ABORTED: 'aborted' } as const;

const words = {
  ABORTED: 'somebody stopped the execution',
  TIMED_OUT: 'the execution ran into its timeout',
} as const;

const clusterIn = (input: string | null | undefined): ClusterId | undefined => {
  try {
    return z.object({ cluster: clusterIdSchema }).safeParse(JSON.parse(input ?? '')).data?.cluster;
  } catch {
    return undefined;
  }
};

const requestOfEvent = ({ detail }: z.output<typeof eventSchema>): SettleRequest | undefined => {
  const run = runIdSchema.safeParse(detail.name);
  // No plan takes such a name, so there is nothing to settle.
  if (!run.success) return undefined;
  const cluster = clusterIn(detail.input);
  const { status, startDate } = detail;
  const isStopped = status === 'ABORTED' || status === 'TIMED_OUT';
  const error = isStopped ? 'RunCancelled' : detail.error;
  const cause = isStopped ? [words[status], detail.error, detail.cause].filter(Boolean).join(': ') : detail.cause;
  return {
    run: run.data,
    execution: detail.executionArn,
    outcome: outcomes[status],
    ...(cluster && { cluster }),
    ...(startDate !== undefined && { startedAt: new Date(startDate).toISOString() }),
    ...(error && { error }),
    ...(cause && { cause }),
  };
};

const requestOfStep = ({
  run,
  execution,
  outcome,
  cluster,
  startedAt,
  error,
  cause,
  answer,
}: z.output<typeof stepSchema>): SettleRequest => ({
  run,
  execution,
  outcome,
  ...(cluster && { cluster }),
  ...(startedAt !== undefined && { startedAt }),
  ...(error !== undefined && { error }),
  ...(cause !== undefined && { cause }),
  ...(answer && { answer }),
});

/** Both forms a request may come in; `undefined` for the end of an execution that cannot be a run. */
export const settleInputSchema = z.union([stepSchema.transform(requestOfStep), eventSchema.transform(requestOfEvent)]);
