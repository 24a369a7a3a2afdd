import { createHash } from 'node:crypto';
import { z } from 'zod';
import {
  type Answer,
  type BackupInstruction,
  type Failure,
  type Instruction,
  instructionSchema,
  PROTOCOL_VERSION,
  type RestoreInstruction,
} from '#core/agent-protocol.ts';
import { asRedoubtError, errorKind, RedoubtError } from '#core/errors.ts';
import { instructionKey, progressKey } from '#core/object-keys.ts';
import type { Cancellation } from '../control/cancellation.ts';
import { confirmAwaited, keepBeating } from '../control/heartbeat.ts';
import { HostLock } from '../control/host-lock.ts';
import { ProgressWriter } from '../control/progress.ts';
import type { Hearing, Task } from '../control/task.ts';
import type { OpenKey } from '../keys/open-data-key.ts';
import type { Repository } from '../repository/repository.ts';
import type { Log, RunContext } from './run-context.ts';

/** Everything outside of the agent that a run meets. */
export interface World {
  /** Every request ends with the signal. */
  readonly repository: (signal: AbortSignal) => Repository;
  readonly task: (token: string) => Task;
  readonly openKey: (grantToken: string | undefined, signal: AbortSignal) => OpenKey;
  readonly backup: (
    instruction: BackupInstruction,
    context: RunContext,
    confirm: () => Promise<void>,
  ) => Promise<Answer>;
  readonly restore: (instruction: RestoreInstruction, context: RunContext) => Promise<Answer>;
  readonly cancellation: Pick<Cancellation, 'signal' | 'cancel'>;
  /** On tmpfs, for this user only. */
  readonly lockDirectory: string;
  readonly log: Log;
  readonly now: () => Date;
  readonly agentVersion: string;
}

export interface RunRequest {
  /** Key of the instruction. */
  readonly instruction: string;
  /** SHA-256 of the instruction, in hex. */
  readonly digest: string;
}

const MAX_INSTRUCTION_BYTES = 16 * 1024 * 1024;
/** Step Functions takes 32,768 characters of cause. */
const LONGEST_DETAIL = 16_000;

const addressedSchema = z.object({ protocol: z.number(), taskToken: z.string().min(1) });

/** Who is to be answered, as soon as that is known: also where the rest of the instruction cannot be understood. */
interface Addressed {
  readonly taskToken: string;
  readonly parse: () => Instruction;
}

const fetchInstruction = async (
  repository: Repository,
  { instruction: key, digest }: RunRequest,
): Promise<Addressed> => {
  const body = await repository.read(key, MAX_INSTRUCTION_BYTES);
  // Before a byte of it is believed: who can write to the bucket still cannot tell a host what to do.
  if (createHash('sha256').update(body).digest('hex') !== digest)
    throw new RedoubtError('InstructionTampered', `${key} is not the instruction that was sent`);
  const json: unknown = JSON.parse(body.toString('utf8'));
  const { protocol, taskToken } = addressedSchema.parse(json);
  return {
    taskToken,
    parse: () => {
      if (protocol !== PROTOCOL_VERSION)
        throw new RedoubtError('AgentOutdated', `this agent speaks protocol ${PROTOCOL_VERSION}, not ${protocol}`);
      const parsed = instructionSchema.safeParse(json);
      if (!parsed.success) throw new RedoubtError('InvalidInput', z.prettifyError(parsed.error));
      if (key !== instructionKey(parsed.data, parsed.data.attempt))
        throw new RedoubtError('InstructionTampered', `${key} holds the instruction of another run`);
      return parsed.data;
    },
  };
};

/**
 * Does what the instruction asks and answers whoever waits for it: exactly one answer, after everything else is over. Returns
 * the exit code: 0, or that of the error. Never throws.
 */
export const runInstruction = async (request: RunRequest, world: World): Promise<number> => {
  const { cancellation, log } = world;
  let task: Task | undefined;
  try {
    const addressed = await fetchInstruction(world.repository(cancellation.signal), request);
    task = world.task(addressed.taskToken);
    const answer = await perform(addressed.parse(), task, world);
    return exitAfter(await task.succeed(JSON.stringify(answer)), log);
  } catch (thrown) {
    const error = asRedoubtError(thrown);
    log(`[${error.code}] ${error.detail}`);
    log(`[Hint] ${error.hint}`);
    const failure: Failure = { code: error.code, detail: error.detail.slice(0, LONGEST_DETAIL), hint: error.hint };
    const heard = await task?.fail(error.code, JSON.stringify(failure));
    if (heard === 'unheard') log('[Unheard] The workflow could not be told; the exit code says the same.');
    return errorKind(error.code).exit;
  }
};

/** What was done is done, and the manifest says so: the next run finds it. But nobody heard it now. */
const exitAfter = (heard: Hearing, log: Log): number => {
  switch (heard) {
    case 'heard':
      log('[Done] The workflow has the answer.');
      return 0;
    case 'gone':
      log('[RunCancelled] It is done, but the workflow did not wait for the answer; the next run takes account of it.');
      return errorKind('RunCancelled').exit;
    case 'unheard':
      log('[HostSilent] It is done, but the workflow could not be told; the next run takes account of it.');
      return errorKind('HostSilent').exit;
  }
};

const perform = async (instruction: Instruction, task: Task, world: World): Promise<Answer> => {
  const { cancellation, log, now } = world;
  const { signal } = cancellation;
  const { heartbeatSeconds } = instruction;
  const confirm = (): Promise<void> => confirmAwaited({ task, heartbeatSeconds, signal });
  // An instruction that was sent before, or that comes late, must do nothing.
  await confirm();
  const over = new AbortController();
  const beating = keepBeating({
    task,
    heartbeatSeconds,
    signal: over.signal,
    onLost: (error) => cancellation.cancel(error),
  });
  try {
    // A run that was given up may still be at it; it stops within the time that it is borne.
    using _lock = await HostLock.wait(world.lockDirectory, `${instruction.cluster}.${instruction.host}`, {
      milliseconds: heartbeatSeconds * 1000,
      signal,
    });
    const repository = world.repository(signal);
    const progress = new ProgressWriter({
      repository,
      key: progressKey(instruction),
      run: instruction.run,
      cluster: instruction.cluster,
      kind: instruction.kind,
      expectedBytes: instruction.kind === 'backup' ? instruction.expectedBytes : 0,
      now,
    });
    const context: RunContext = {
      repository,
      openKey: world.openKey(instruction.keys.grantToken, signal),
      signal,
      progress,
      log,
      now,
      agentVersion: world.agentVersion,
    };
    try {
      if (instruction.kind === 'restore') {
        log(`[Started] Restore of ${instruction.steps.at(-1)?.backup} into ${instruction.directory}.`);
        return await world.restore(instruction, context);
      }
      log(`[Started] Backup ${instruction.backup} of ${instruction.cluster}: ${instruction.reason}`);
      const answer = await world.backup(instruction, context, confirm);
      log(`[Committed] ${instruction.backup}`);
      return answer;
    } finally {
      await progress.end();
    }
  } finally {
    over.abort();
    await beating;
  }
};
