import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { answerSchema, instructionSchema } from '#core/agent-protocol.ts';
import { asRedoubtError } from '#core/errors.ts';
import { FileRepository } from '#test/doubles/file-repository.ts';
import { type AgentSpec, type ChildMessage, runAgent } from './run-agent.ts';

// The process of `runKilledAgent`.

const spec = JSON.parse(readFileSync(process.argv[2] as string, 'utf8')) as AgentSpec;
let left = spec.killedAfter;
const count = (): void => {
  if (left === 0) process.kill(process.pid, 'SIGKILL');
  left -= 1;
};

const message: ChildMessage = await runAgent(instructionSchema.parse(spec.instruction), {
  repository: new FileRepository(spec.repository, count),
  scratch: spec.scratch,
  now: new Date(spec.now),
  onPhase: count,
}).then(
  (answer) => ({ answer: z.encode(answerSchema, answer) }),
  (error: unknown) => {
    const { code, detail } = asRedoubtError(error);
    return { code, detail };
  },
);
process.send?.(message, () => process.exit(0));
