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

export interface HeartbeatOptions {
  readonly task: Pick<Task, 'heartbeat'>;
  /** After this long without a heartbeat the workflow goes on without us. */
  readonly heartbeatSeconds: number;
  /** Ends the beating. */
  readonly signal: AbortSignal;
  /** Called once, when the run must end: its task is gone, or would be by now for all we know. */
  readonly onLost: (error: RedoubtError) => void;
  readonly clock?: Clock;
}

/**
 * Beats three times in `heartbeatSeconds` until the signal. A refused heartbeat means that the workflow has given this run up,
 * perhaps started another one: everything must stop at once. A network that is down is borne for as long as the workflow
 * bears it; then it has given up too.
 */
export const keepBeating = async ({
  task,
  heartbeatSeconds,
  signal,
  onLost,
  clock = systemClock,
}: HeartbeatOptions): Promise<void> => {
  const pause = (heartbeatSeconds * 1000) / 3;
  let heardAt = clock.now();
  while (!signal.aborted) {
    // Not cut off by the next one: each has its own time, and the workflow counts from when it hears.
    const beat = await task.heartbeat(AbortSignal.any([signal, AbortSignal.timeout(pause)]));
    if (signal.aborted) return;
    const now = clock.now();
    if (beat === 'heard') heardAt = now;
    if (beat === 'gone') {
      onLost(new RedoubtError('RunCancelled', 'the workflow does not wait for this run any more'));
      return;
    }
    if (now - heardAt > heartbeatSeconds * 1000) {
      onLost(new RedoubtError('RunCancelled', `no heartbeat got through for ${heartbeatSeconds} seconds`));
      return;
    }
    await clock.sleep(pause, signal).catch(() => undefined);
  }
};
