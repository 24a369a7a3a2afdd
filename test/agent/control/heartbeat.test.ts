import { describe, expect, it } from 'vitest';
import { keepBeating } from '#agent/control/heartbeat.ts';
import type { Hearing } from '#agent/control/task.ts';
import type { RedoubtError } from '#core/errors.ts';

/** Beats for `seconds` of a clock that jumps; `hear` says what becomes of the beat sent at a second. */
const beatFor = async (seconds: number, hear: (second: number) => Hearing) => {
  const over = new AbortController();
  const beats: number[] = [];
  let now = 0;
  let lost: { readonly error: RedoubtError; readonly second: number } | undefined;
  await keepBeating({
    task: {
      heartbeat: async () => {
        beats.push(now / 1000);
        return hear(now / 1000);
      },
    },
    heartbeatSeconds: 30,
    signal: over.signal,
    onLost: (error) => {
      lost = { error, second: now / 1000 };
    },
    clock: {
      now: () => now,
      sleep: async (milliseconds) => {
        now += milliseconds;
        if (now > seconds * 1000) over.abort();
      },
    },
  });
  return { beats, lost };
};

describe('the heartbeat', () => {
  it('beats three times in the time the workflow waits', async () => {
    const { beats, lost } = await beatFor(60, () => 'heard');
    expect(beats).toEqual([0, 10, 20, 30, 40, 50, 60]);
    expect(lost).toBeUndefined();
  });

  it('ends the run at once when the workflow does not wait any more', async () => {
    const { beats, lost } = await beatFor(60, (second) => (second === 20 ? 'gone' : 'heard'));
    expect(lost).toMatchObject({ second: 20, error: { code: 'RunCancelled' } });
    expect(beats).toEqual([0, 10, 20]);
  });

  it('bears a network that is down for less than that time', async () => {
    const { lost } = await beatFor(600, (second) => (second % 30 === 0 ? 'heard' : 'unheard'));
    expect(lost).toBeUndefined();
  });

  it('ends the run when nothing got through for that time', async () => {
    const { lost } = await beatFor(600, (second) => (second === 0 ? 'heard' : 'unheard'));
    expect(lost).toMatchObject({ second: 40, error: { code: 'RunCancelled' } });
  });
});
