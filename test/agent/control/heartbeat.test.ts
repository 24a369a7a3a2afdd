import { describe, expect, it } from 'vitest';
import { type Clock, confirmAwaited, keepBeating } from '#agent/control/heartbeat.ts';
import type { Hearing } from '#agent/control/task.ts';
import type { RedoubtError } from '#core/errors.ts';

const LIMIT = 30;

/** A clock that jumps, and a task that answers on it. `hear` says what becomes of the beat sent at a second, `takes` how long that lasts. */
const fakeTask = (hear: (second: number) => Hearing, takes: number, over: AbortSignal) => {
  const beats: number[] = [];
  let now = 0;
  const clock: Clock = {
    now: () => now,
    sleep: async (milliseconds) => {
      now += milliseconds;
    },
  };
  const heartbeat = async (): Promise<Hearing> => {
    if (over.aborted) throw new Error('beats after the end');
    const second = now / 1000;
    beats.push(second);
    now += takes * 1000;
    return hear(second);
  };
  return { beats, clock, heartbeat };
};

/** Beats for `seconds`. */
const beatFor = async (seconds: number, hear: (second: number) => Hearing, takes = 0, heartbeatSeconds = LIMIT) => {
  const over = new AbortController();
  const { beats, clock, heartbeat } = fakeTask(hear, takes, over.signal);
  let lost: { readonly error: RedoubtError; readonly second: number } | undefined;
  await keepBeating({
    task: { heartbeat },
    heartbeatSeconds,
    signal: over.signal,
    onLost: (error) => {
      lost = { error, second: clock.now() / 1000 };
    },
    clock: {
      now: clock.now,
      sleep: async (milliseconds, signal) => {
        await clock.sleep(milliseconds, signal);
        if (clock.now() > seconds * 1000) over.abort();
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

  it('takes any limit, also one that is no multiple of its pauses', async () => {
    const { beats, lost } = await beatFor(300, () => 'heard', 0, 200);
    expect(beats.length).toBe(5);
    expect(lost).toBeUndefined();
  });

  it('ends the run at once when the workflow does not wait any more', async () => {
    const { beats, lost } = await beatFor(60, (second) => (second === 20 ? 'gone' : 'heard'));
    expect(lost).toMatchObject({ second: 20, error: { code: 'RunCancelled' } });
    expect(beats).toEqual([0, 10, 20]);
  });

  it('bears a network that is down for less than two thirds of that time, and asks more often then', async () => {
    const { beats, lost } = await beatFor(600, (second) => (second > 0 && second < 17 ? 'unheard' : 'heard'));
    expect(lost).toBeUndefined();
    expect(beats.slice(0, 6)).toEqual([0, 10, 12.5, 15, 17.5, 27.5]);
  });

  it.each([
    ['are refused at once', 0],
    ['take all their time', 5],
  ])('ends the run well before the workflow gives it up, where heartbeats %s', async (_how, takes) => {
    // The workflow counts from the last it heard, at second 40, and gives up at 70.
    const { lost } = await beatFor(600, (second) => (second <= 40 ? 'heard' : 'unheard'), takes);
    expect(lost?.error.code).toBe('RunCancelled');
    expect(lost?.second).toBeGreaterThan(50);
    // The last beat may still be on its way, which the clock here does not cut short.
    expect(lost?.second).toBeLessThanOrEqual(60 + takes);
  });

  it('counts from when a heartbeat was sent: its answer may be late', async () => {
    const { lost } = await beatFor(600, (second) => (second === 0 ? 'heard' : 'unheard'), 5);
    expect(lost?.second).toBeLessThan(25);
  });
});

describe('asking whether anybody waits', () => {
  const ask = async (hear: (second: number) => Hearing, takes = 0) => {
    const over = new AbortController();
    const { beats, clock, heartbeat } = fakeTask(hear, takes, over.signal);
    const error = await confirmAwaited({
      task: { heartbeat },
      heartbeatSeconds: LIMIT,
      signal: over.signal,
      clock,
    }).catch((thrown: unknown) => thrown as RedoubtError);
    return { beats, error, second: clock.now() / 1000 };
  };

  it('is over with a heartbeat that was accepted', async () => {
    expect(await ask(() => 'heard')).toEqual({ beats: [0], error: undefined, second: 0 });
  });

  it('asks again where nothing got through', async () => {
    const { beats, error } = await ask((second) => (second < 5 ? 'unheard' : 'heard'));
    expect(error).toBeUndefined();
    expect(beats).toEqual([0, 2.5, 5]);
  });

  it('takes nothing else for consent', async () => {
    expect(await ask(() => 'gone')).toMatchObject({ beats: [0], error: { code: 'RunCancelled' } });
    const { error, second } = await ask(() => 'unheard', 5);
    expect(error).toMatchObject({ code: 'RunCancelled' });
    expect(second).toBeLessThan(LIMIT);
  });
});
