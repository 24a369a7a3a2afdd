import { setTimeout as sleep } from 'node:timers/promises';

/** Keeps to a number of bytes a second over time; each piece goes out whole. */
export class Throttle {
  readonly #bytesPerSecond: number | undefined;
  #nextAt = 0;

  constructor(bytesPerSecond: number | undefined) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Resolves when `bytes` may go. Rejects once the signal is aborted. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.#bytesPerSecond === undefined) return;
    const now = performance.now();
    const at = Math.max(now, this.#nextAt);
    this.#nextAt = at + (bytes / this.#bytesPerSecond) * 1000;
    if (at > now) await sleep(at - now, undefined, { signal });
  }
}
