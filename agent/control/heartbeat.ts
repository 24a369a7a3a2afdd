import { setTimeout as sleep } from 'node:timers/promises';
import { RedoubtError } from '#core/errors.ts';
import type { Task } from './task.ts';

export interface Clock {
  /** Milliseconds of a clock that only goes forward. */
  now(): number;
  /** Rejects once the signal is aborted. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>;
}

const systemClock: Clock = {
  now: () => performance.now(),
  sleep: (milliseconds, signal) => sleep(milliseconds, undefined, { signal }),
};

export interface BeatOptions {
  readonly task: Pick<Task, 'heartbeat'>;
  /** After this long without a heartbeat the workflow goes on without us. */
  readonly heartbeatSeconds: number;
  /** Ends the beating. */
  readonly signal: AbortSignal;
  readonly clock?: Clock;
}

export interface HeartbeatOptions extends BeatOptions {
  /** Called once, when the run must end: its task is gone, or would soon be for all we know. */
  readonly onLost: (error: RedoubtError) => void;
}

/**
 * The times of a run, in milliseconds. INV-6: `giveUp` is strictly before the workflow's own limit, so that whoever is not heard any more
 * has stopped writing before another run can be started. A beat has at most `beat`, so one that was accepted was so just now.
 */
const timesOf = (heartbeatSeconds: number) => {
  const limit = heartbeatSeconds * 1000;
  return { giveUp: (limit * 2) / 3, pause: limit / 3, retry: limit / 12, beat: limit / 6 };
};

const sendBeat = (task: BeatOptions['task'], milliseconds: number, signal: AbortSignal) =>
  // A timer takes whole milliseconds.
  task.heartbeat(AbortSignal.any([signal, AbortSignal.timeout(Math.max(1, Math.floor(milliseconds)))]));

const gone = () => new RedoubtError('RunCancelled', 'the workflow does not wait for this run any more');

/**
 * Beats three times in `heartbeatSeconds` until the signal, more often while nothing gets through. A refused heartbeat means that the
 * workflow has given this run up, perhaps started another one: everything must stop at once. A network that is down is borne for two thirds
 * of the time for which the workflow bears it, counted from when the last heartbeat that was heard had been sent.
 */
export const keepBeating = async ({
  task,
  heartbeatSeconds,
  signal,
  onLost,
  clock = systemClock,
}: HeartbeatOptions): Promise<void> => {
  const times = timesOf(heartbeatSeconds);
  let heardAt = clock.now();
  while (!signal.aborted) {
    const sentAt = clock.now();
    const beat = await sendBeat(task, Math.min(times.beat, heardAt + times.giveUp - sentAt), signal);
    if (signal.aborted) return;
    if (beat === 'heard') heardAt = sentAt;
    if (beat === 'gone') {
      onLost(gone());
      return;
    }
    const next = beat === 'heard' ? sentAt + times.pause : clock.now() + times.retry;
    const wait = Math.min(next, heardAt + times.giveUp) - clock.now();
    if (wait > 0) await clock.sleep(wait, signal).catch(() => {});
    if (signal.aborted) return;
    if (clock.now() - heardAt >= times.giveUp) {
      onLost(new RedoubtError('RunCancelled', `no heartbeat got through for ${times.giveUp / 1000} seconds`));
      return;
    }
  }
};

/**
 * Returns once the workflow has accepted a heartbeat just now. Throws `RunCancelled` where it does not wait any more, and where nothing gets
 * through for two thirds of the time it waits: who may have been given up must not go on. Throws the signal's reason.
 */
export const confirmAwaited = async ({
  task,
  heartbeatSeconds,
  signal,
  clock = systemClock,
}: BeatOptions): Promise<void> => {
  const times = timesOf(heartbeatSeconds);
  const end = clock.now() + times.giveUp;
  for (;;) {
    const beat = await sendBeat(task, Math.min(times.beat, end - clock.now()), signal);
    signal.throwIfAborted();
    if (beat === 'heard') return;
    if (beat === 'gone') throw gone();
    await clock.sleep(times.retry, signal).catch(() => {});
    signal.throwIfAborted();
    if (clock.now() >= end)
      throw new RedoubtError('RunCancelled', 'the workflow could not be asked whether it still waits for this run');
  }
};
