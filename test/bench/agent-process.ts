import { readFileSync } from 'node:fs';
import { runBackup } from '#agent/commands/backup.ts';
import { openBackupServer } from '#agent/commands/open-backup-server.ts';
import { runRestore } from '#agent/commands/restore.ts';
import type { RunContext } from '#agent/commands/run-context.ts';
import { ProgressWriter } from '#agent/control/progress.ts';
import { engineOf } from '#agent/engines/engine.ts';
import { createS3Client, S3Repository } from '#agent/repository/s3-repository.ts';
import { backupInstructionSchema, type Instruction, restoreInstructionSchema } from '#core/agent-protocol.ts';
import { progressKey } from '#core/object-keys.ts';
import type { AgentResult, AgentTask } from './agent-task.ts';
import { DiscardingRepository } from './discarding-repository.ts';
import { storeSynthetic } from './store-synthetic.ts';

/** The agent's commands as `agent/main.ts` runs them, without a workflow that waits and without KMS. Prints an `AgentResult`. */
const task = JSON.parse(readFileSync(process.argv[2] as string, 'utf8')) as AgentTask;
const { signal } = new AbortController();
const repository =
  task.to === 'nowhere' ? new DiscardingRepository() : new S3Repository(createS3Client(), 'bench', signal);

const contextOf = ({ run, cluster, kind }: Instruction, dataKey: string): RunContext & { end(): Promise<void> } => {
  const progress = new ProgressWriter({
    repository,
    key: progressKey({ cluster, run }),
    run,
    cluster,
    kind,
    expectedBytes: 0,
    now: () => new Date(),
  });
  return {
    repository,
    openKey: async () => ({ bytes: Buffer.from(dataKey, 'hex'), destroy: () => undefined }),
    signal,
    progress,
    log: () => undefined,
    now: () => new Date(),
    agentVersion: '0.0.0-bench',
    end: () => progress.end(),
  };
};

const perform = async (): Promise<Omit<AgentResult, 'peakBytes'>> => {
  switch (task.kind) {
    case 'backup': {
      const instruction = backupInstructionSchema.parse(task.instruction);
      const context = contextOf(instruction, task.dataKey);
      const answer = await runBackup(instruction, context, {
        engine: engineOf(instruction.engine),
        openServer: openBackupServer,
        confirm: async () => undefined,
      });
      await context.end();
      const manifest = (await repository.read(answer.manifestKey, 1 << 24)).toString('utf8');
      const { streamBytes, storedBytes, seconds } = answer;
      return { streamBytes, storedBytes, manifest, phases: seconds, residentBytes: [] };
    }
    case 'restore': {
      const instruction = restoreInstructionSchema.parse(task.instruction);
      const context = contextOf(instruction, task.dataKey);
      const answer = await runRestore(instruction, context);
      await context.end();
      return { streamBytes: answer.restoredBytes, storedBytes: 0, phases: answer.seconds, residentBytes: [] };
    }
    case 'store':
      return await storeSynthetic(task, repository, signal);
  }
};

const done = await perform();
// Kibibytes: getrusage(2).
const result: AgentResult = { ...done, peakBytes: process.resourceUsage().maxRSS * 1024 };
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
