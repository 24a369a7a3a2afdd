import { type ChildProcess, fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { runBackup } from '#agent/commands/backup.ts';
import { openBackupServer } from '#agent/commands/open-backup-server.ts';
import { runRestore } from '#agent/commands/restore.ts';
import type { RunContext } from '#agent/commands/run-context.ts';
import { engineOf } from '#agent/engines/engine.ts';
import { type Answer, answerSchema, type Instruction, instructionSchema } from '#core/agent-protocol.ts';
import { type ErrorCode, RedoubtError } from '#core/errors.ts';
import type { FileRepository } from '#test/doubles/file-repository.ts';

export interface AgentSurroundings {
  readonly repository: FileRepository;
  /** Where the engine of a backup may write. */
  readonly scratch: string;
  readonly now: Date;
  readonly log?: (line: string) => void;
  /** Called as each phase and step begins. */
  readonly onPhase?: () => void;
}

/** What KMS would open: a function of the encryption context, so that every process opens the same. */
export const openTestKey: RunContext['openKey'] = async ({ context }) => {
  const bytes = createHash('sha256').update(`${context.chain} ${context.purpose}`).digest();
  return { bytes, destroy: () => bytes.fill(0) };
};

/** The agent's own commands on an instruction, in this process. */
export const runAgent = (
  instruction: Instruction,
  { repository, scratch, now, log = () => undefined, onPhase = () => undefined }: AgentSurroundings,
): Promise<Answer> => {
  const context: RunContext = {
    repository,
    openKey: openTestKey,
    signal: new AbortController().signal,
    progress: { phase: onPhase, step: onPhase, add: () => undefined, expect: () => undefined, seconds: () => ({}) },
    log,
    now: () => now,
    agentVersion: '0.0.0',
  };
  return instruction.kind === 'restore'
    ? runRestore(instruction, context)
    : runBackup(instruction, context, {
        engine: engineOf(instruction.engine),
        openServer: openBackupServer,
        confirm: async () => undefined,
        scratchParent: scratch,
        firstPagesMs: 0,
      });
};

/** For `agent-child.ts`. */
export interface AgentSpec {
  readonly instruction: unknown;
  readonly repository: string;
  readonly scratch: string;
  readonly now: string;
  /** It kills itself before the operation on the repository, or the phase, of this number. */
  readonly killedAfter: number;
}

export type ChildMessage = { readonly answer: unknown } | { readonly code: ErrorCode; readonly detail: string };

export interface KilledAgent {
  readonly pid: number;
}

/** The same in a process of its own that SIGKILLs itself on the way, unless it has ended before. Throws what it threw. */
export const runKilledAgent = async (
  instruction: Instruction,
  { repository, scratch, now }: AgentSurroundings,
  killedAfter: number,
): Promise<Answer | KilledAgent> => {
  const path = join(repository.directory, `agent-${instruction.run}-${instruction.attempt}.json`);
  const spec: AgentSpec = {
    instruction: z.encode(instructionSchema, instruction),
    repository: repository.directory,
    scratch,
    now: now.toISOString(),
    killedAfter,
  };
  writeFileSync(path, JSON.stringify(spec));
  const child: ChildProcess = fork(join(import.meta.dirname, 'agent-child.ts'), [path], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execArgv: ['--single-threaded', '--disable-warning=ExperimentalWarning'],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error('no agent');
  let message: ChildMessage | undefined;
  child.on('message', (said) => (message = said as ChildMessage));
  const signal = await new Promise<NodeJS.Signals | null>((resolve) => child.once('close', (_, by) => resolve(by)));
  rmSync(path);
  if (message === undefined) {
    if (signal !== 'SIGKILL') throw new Error(`the agent ended without an answer: ${signal}`);
    return { pid };
  }
  if ('code' in message) throw new RedoubtError(message.code, message.detail);
  return answerSchema.parse(message.answer);
};
