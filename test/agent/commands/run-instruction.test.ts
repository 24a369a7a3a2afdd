import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RunContext } from '#agent/commands/run-context.ts';
import { runInstruction, type World } from '#agent/commands/run-instruction.ts';
import { HostLock } from '#agent/control/host-lock.ts';
import type { Hearing } from '#agent/control/task.ts';
import { type BackupAnswer, failureSchema, progressSchema } from '#core/agent-protocol.ts';
import { errorKind, RedoubtError } from '#core/errors.ts';
import { MemoryRepository } from '#test/doubles/memory-repository.ts';
import { instruction } from './backup-lab.ts';

const KEY = 'runs/orders/run-1/instruction-1.json';

const answer: BackupAnswer = {
  kind: 'backup',
  manifestKey: 'manifest.json',
  manifestSha256: 'a'.repeat(64),
  storedBytes: 1,
  streamBytes: 2,
  seconds: {},
};

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

describe('running an instruction', () => {
  let lockDirectory: string;
  let repository: MemoryRepository;
  let heard: string[];
  let logged: string[];
  let hear: Hearing;
  let controller: AbortController;

  beforeEach(() => {
    lockDirectory = mkdtempSync(join(tmpdir(), 'redoubt-run-'));
    repository = new MemoryRepository();
    heard = [];
    logged = [];
    hear = 'heard';
    controller = new AbortController();
  });
  afterEach(() => rmSync(lockDirectory, { recursive: true }));

  const world = (backup: (context: RunContext, confirm: () => Promise<void>) => Promise<BackupAnswer>): World => ({
    repository: () => repository,
    task: (token) => ({
      heartbeat: async () => {
        heard.push(`heartbeat ${token}`);
        return hear;
      },
      succeed: async (output) => {
        heard.push(`success ${output}`);
        return hear;
      },
      fail: async (error, cause) => {
        heard.push(`failure ${error} ${cause}`);
        return hear;
      },
    }),
    openKey: () => async () => {
      throw new RedoubtError('KeyRefused', 'no');
    },
    backup: (_instruction, context, confirm) => backup(context, confirm),
    restore: async () => {
      throw new RedoubtError('Unexpected', 'not asked for');
    },
    cancellation: { signal: controller.signal, cancel: (reason) => controller.abort(reason) },
    lockDirectory,
    log: (line) => logged.push(line),
    now: () => new Date('2026-11-22T05:12:10Z'),
    agentVersion: '0.1.0',
  });

  const stored = (changes: object = {}): string => {
    // LSNs and the like do not occur in a full's instruction: it is its own JSON.
    const text = JSON.stringify({ ...instruction(), ...changes });
    repository.objects.set(KEY, Buffer.from(text));
    return digestOf(text);
  };

  const run = (digest: string, backup: Parameters<typeof world>[0] = async () => answer) =>
    runInstruction({ instruction: KEY, digest }, world(backup));

  const failureHeard = () => {
    const [, error, cause] = /^failure (\w+) (.*)$/s.exec(heard.at(-1) ?? '') ?? [];
    const failure = failureSchema.parse(JSON.parse(cause ?? ''));
    // Step Functions matches on the error, people read the cause: they must not disagree.
    expect(error).toBe(failure.code);
    return failure;
  };

  it('beats before anything else, does it, and answers last', async () => {
    expect(await run(stored())).toBe(0);
    expect(heard[0]).toBe('heartbeat token');
    expect(heard.at(-1)).toBe(`success ${JSON.stringify(answer)}`);
    expect(
      progressSchema.parse(JSON.parse(repository.objects.get('runs/orders/run-1/progress.json')?.toString() ?? '')),
    ).toMatchObject({
      phase: 'ended',
    });
  });

  it('answers a failure with its name, its detail and what to do', async () => {
    const code = await run(stored(), async () => {
      throw new RedoubtError('EngineFailed', 'the last lines');
    });
    expect(code).toBe(errorKind('EngineFailed').exit);
    expect(failureHeard()).toEqual({
      code: 'EngineFailed',
      detail: 'the last lines',
      hint: errorKind('EngineFailed').hint,
    });
    expect(logged.join('\n')).toContain('[EngineFailed] the last lines');
  });

  it('calls a defect by its name and fits it into what Step Functions takes', async () => {
    const code = await run(stored(), async () => {
      throw new TypeError('x'.repeat(100_000));
    });
    expect(code).toBe(errorKind('Unexpected').exit);
    expect((heard.at(-1) ?? '').length).toBeLessThan(32_768);
  });

  it.each([
    ['the digest of another instruction', () => stored() && digestOf('another')],
    ['an instruction that is not there', () => digestOf('x')],
  ])('does nothing and answers nobody for %s', async (_what, digest) => {
    let done = false;
    const code = await run(digest(), async () => {
      done = true;
      return answer;
    });
    expect([errorKind('InstructionTampered').exit, errorKind('ObjectMissing').exit]).toContain(code);
    expect(done).toBe(false);
    expect(heard).toEqual([]);
  });

  it('refuses an instruction that lies under the key of another run', async () => {
    expect(await run(stored({ run: 'run-2' }))).toBe(errorKind('InstructionTampered').exit);
    expect(failureHeard().code).toBe('InstructionTampered');
  });

  it('says that it is outdated to a control plane that speaks another protocol', async () => {
    expect(await run(stored({ protocol: 2, kind: 'something new' }))).toBe(errorKind('AgentOutdated').exit);
    expect(failureHeard().code).toBe('AgentOutdated');
  });

  it('does nothing where nobody waits any more: an old instruction, sent again', async () => {
    hear = 'gone';
    let done = false;
    const code = await run(stored(), async () => {
      done = true;
      return answer;
    });
    expect(code).toBe(errorKind('RunCancelled').exit);
    expect(done).toBe(false);
  });

  it('is refused while another one works on the cluster for as long as it may after it was given up', async () => {
    using _lock = HostLock.take(lockDirectory, 'orders.i-0123456789abcdef0');
    expect(await run(stored({ heartbeatSeconds: 3 }))).toBe(errorKind('HostBusy').exit);
    expect(failureHeard().code).toBe('HostBusy');
  });

  it('waits for one that was given up, and goes on once that has stopped', async () => {
    const other = HostLock.take(lockDirectory, 'orders.i-0123456789abcdef0');
    const running = run(stored());
    while (!heard.some((message) => message.startsWith('heartbeat'))) await sleep(1);
    other[Symbol.dispose]();
    expect(await running).toBe(0);
  });

  it('lets the next one in, however it ended', async () => {
    await run(stored(), async () => {
      throw new RedoubtError('EngineFailed', 'no');
    });
    expect(await run(stored())).toBe(0);
  });

  it('stops the run when a heartbeat is refused', async () => {
    const digest = stored({ heartbeatSeconds: 3 });
    const code = await run(digest, async ({ signal }) => {
      hear = 'gone';
      await sleep(10_000, undefined, { signal }).catch(() => undefined);
      signal.throwIfAborted();
      return answer;
    });
    expect(code).toBe(errorKind('RunCancelled').exit);
  });

  it('does not call a success what nobody heard of', async () => {
    expect(
      await run(stored(), async () => {
        hear = 'unheard';
        return answer;
      }),
    ).toBe(errorKind('HostSilent').exit);
    hear = 'heard';
    expect(
      await run(stored(), async () => {
        hear = 'gone';
        return answer;
      }),
    ).toBe(errorKind('RunCancelled').exit);
  });

  it('lets a command ask once more whether anybody waits', async () => {
    const code = await run(stored(), async (_context, confirm) => {
      hear = 'gone';
      await confirm();
      return answer;
    });
    expect(code).toBe(errorKind('RunCancelled').exit);
  });

  it('commits nothing on a host that reaches the repository and not the workflow', async () => {
    let committed = false;
    const code = await run(stored({ heartbeatSeconds: 3 }), async (_context, confirm) => {
      hear = 'unheard';
      await confirm();
      committed = true;
      return answer;
    });
    expect(code).toBe(errorKind('RunCancelled').exit);
    expect(committed).toBe(false);
  });

  it('does nothing where nobody can be asked', async () => {
    hear = 'unheard';
    let done = false;
    const code = await run(stored({ heartbeatSeconds: 3 }), async () => {
      done = true;
      return answer;
    });
    expect(code).toBe(errorKind('RunCancelled').exit);
    expect(done).toBe(false);
  });
});
