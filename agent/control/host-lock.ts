import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RedoubtError } from '#core/errors.ts';
import { processStart } from './process-start.ts';

const PAUSE_MS = 250;

/**
 * One run of the agent per cluster and host. Who wants the lock first writes a flag named after its process, then looks for
 * flags of others: of two that do so at once, at least one sees the other, so never do both hold it (both may be refused:
 * `HostBusy` is retryable). A flag whose process is gone means nothing and is removed, so SIGKILL leaves no lock behind.
 */
export class HostLock implements Disposable {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /** `directory` is on a file system of this host, best on tmpfs. Throws `HostBusy`. */
  static take(directory: string, name: string): HostLock {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const flag = new RegExp(`^${name.replaceAll(/[^a-z0-9-]/g, '.')}\\.lock\\.(\\d+)\\.(\\d+)$`);
    const mine = `${name}.lock.${process.pid}.${processStart(process.pid) ?? '0'}`;
    const path = join(directory, mine);
    // 'wx': a second run within this process is refused too.
    try {
      writeFileSync(path, '', { flag: 'wx', mode: 0o600 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      throw new RedoubtError('HostBusy', `this process (${process.pid}) already works on ${name}`);
    }
    for (const entry of readdirSync(directory)) {
      const match = flag.exec(entry);
      if (match === null || entry === mine) continue;
      if (processStart(Number(match[1])) === match[2]) {
        rmSync(path, { force: true });
        throw new RedoubtError('HostBusy', `process ${match[1]} works on ${name}`);
      }
      rmSync(join(directory, entry), { force: true });
    }
    return new HostLock(path);
  }

  /**
   * As `take`, but waits up to `milliseconds` for whoever has it: a run that was given up hears of it at its next heartbeat, and one that was
   * killed takes a moment to be gone. Throws the signal's reason once that is aborted.
   */
  static async wait(
    directory: string,
    name: string,
    { milliseconds, signal }: { readonly milliseconds: number; readonly signal: AbortSignal },
  ): Promise<HostLock> {
    const deadline = performance.now() + milliseconds;
    for (;;) {
      signal.throwIfAborted();
      try {
        return HostLock.take(directory, name);
      } catch (error) {
        if (!(error instanceof RedoubtError) || performance.now() >= deadline) throw error;
      }
      await sleep(PAUSE_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.#path, { force: true });
  }
}
