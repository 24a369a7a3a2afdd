import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Cancellation } from '#agent/control/cancellation.ts';

describe('what ends a run from outside', () => {
  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('%s', async (name) => {
    using cancellation = new Cancellation();
    expect(cancellation.signal.aborted).toBe(false);
    const aborted = once(cancellation.signal, 'abort');
    process.kill(process.pid, name);
    await aborted;
    expect(cancellation.signal.reason).toMatchObject({ code: 'RunCancelled', detail: `the agent got ${name}` });
  });

  it('the death of the process that started the agent', async () => {
    let parent = 4711;
    using cancellation = new Cancellation(() => parent);
    await sleep(1100);
    expect(cancellation.signal.aborted).toBe(false);
    parent = 1;
    await sleep(1100);
    expect(cancellation.signal.reason).toMatchObject({ code: 'RunCancelled' });
  });
});
