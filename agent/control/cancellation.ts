import { RedoubtError } from '#core/errors.ts';

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
const PARENT_POLL_MS = 1_000;

/**
 * What ends a run from outside, as one signal: SIGTERM and its like (Systems Manager cancels a command so), the death of the
 * parent (its agent was restarted or killed: nobody would collect the output or cancel any more), and `cancel`. The reason is
 * the error to end with.
 */
export class Cancellation implements Disposable {
  readonly #controller = new AbortController();
  readonly #handlers = SIGNALS.map((name) => {
    const handler = (): void => this.cancel(new RedoubtError('RunCancelled', `the agent got ${name}`));
    process.on(name, handler);
    return [name, handler] as const;
  });
  readonly #poll: NodeJS.Timeout;

  /** `parent` is read each time; its change means that the process that started the agent has died. */
  constructor(parent: () => number = () => process.ppid) {
    const first = parent();
    this.#poll = setInterval(() => {
      if (parent() !== first) this.cancel(new RedoubtError('RunCancelled', 'the process that started the agent died'));
    }, PARENT_POLL_MS);
    this.#poll.unref();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  cancel(reason: RedoubtError): void {
    this.#controller.abort(reason);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#poll);
    for (const [name, handler] of this.#handlers) process.off(name, handler);
  }
}
