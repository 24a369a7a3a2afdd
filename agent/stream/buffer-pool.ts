/** A fixed number of buffers of one size: who wants one more waits, and that is all the back-pressure there is. */
export class BufferPool {
  readonly #size: number;
  readonly #signal: AbortSignal;
  readonly #free: Buffer[] = [];
  readonly #waiting: { resolve(buffer: Buffer): void; reject(reason: unknown): void }[] = [];
  #unmade: number;

  constructor(count: number, size: number, signal: AbortSignal) {
    this.#size = size;
    this.#unmade = count;
    this.#signal = signal;
    signal.addEventListener('abort', () => {
      for (const { reject } of this.#waiting.splice(0)) reject(signal.reason);
    });
  }

  /** A buffer with whatever was in it. Rejects with the signal's reason once that is aborted. */
  acquire(): Promise<Buffer> {
    if (this.#signal.aborted) return Promise.reject(this.#signal.reason);
    const free = this.#free.pop();
    if (free !== undefined) return Promise.resolve(free);
    if (this.#unmade > 0) {
      this.#unmade--;
      return Promise.resolve(Buffer.allocUnsafeSlow(this.#size));
    }
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** `buffer` must come from `acquire` and must not be used any more. */
  release(buffer: Buffer): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(buffer);
    else next.resolve(buffer);
  }
}
