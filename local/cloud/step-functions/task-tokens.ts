import { randomBytes } from 'node:crypto';
import type { Json } from '../json.ts';
import { AwsError } from '../service.ts';
import { StateError } from './state-error.ts';

/** A task that waits for its token to be answered. */
export interface PendingTask {
  readonly token: string;
  /** Settles with the answer; rejects with a StateError on SendTaskFailure. */
  readonly answer: Promise<Json>;
  /** Calls back on every SendTaskHeartbeat. */
  onHeartbeat(listener: () => void): void;
  /** After this the token is refused with TaskTimedOut. */
  close(): void;
}

interface Entry {
  succeed(output: Json): void;
  fail(error: StateError): void;
  heartbeat: () => void;
}

const prefix = 'AQC';

/**
 * The task tokens of all executions. A token answers once; whoever comes later (after an answer, a timeout, the end of the
 * execution) is told `TaskTimedOut`, so that a worker knows to stop.
 */
export class TaskTokens {
  readonly #open = new Map<string, Entry>();
  readonly #closed = new Set<string>();

  issue(): PendingTask {
    const token = prefix + randomBytes(192).toString('base64');
    const { promise, resolve, reject } = Promise.withResolvers<Json>();
    // A task that failed for another reason no longer looks at its answer.
    promise.catch(() => undefined);
    const entry: Entry = { succeed: resolve, fail: reject, heartbeat: () => undefined };
    this.#open.set(token, entry);
    return {
      token,
      answer: promise,
      onHeartbeat: (listener) => {
        entry.heartbeat = listener;
      },
      close: () => this.#close(token),
    };
  }

  succeed(token: unknown, output: unknown): void {
    let parsed: Json;
    try {
      parsed = JSON.parse(String(output)) as Json;
    } catch {
      throw new AwsError('InvalidOutput', `Invalid Output: 'Output is not JSON'`);
    }
    const entry = this.#find(token);
    this.#close(String(token));
    entry.succeed(parsed);
  }

  fail(token: unknown, error: unknown, cause: unknown): void {
    const entry = this.#find(token);
    this.#close(String(token));
    entry.fail(new StateError(typeof error === 'string' ? error : '', typeof cause === 'string' ? cause : ''));
  }

  heartbeat(token: unknown): void {
    this.#find(token).heartbeat();
  }

  #find(token: unknown): Entry {
    if (typeof token !== 'string' || !token.startsWith(prefix)) {
      throw new AwsError('InvalidToken', `Invalid Token: 'Invalid token'`);
    }
    const entry = this.#open.get(token);
    if (entry === undefined) {
      if (this.#closed.has(token)) {
        throw new AwsError('TaskTimedOut', `Task Timed Out: 'Provided task does not exist anymore'`);
      }
      throw new AwsError('TaskDoesNotExist', `Task Does Not Exist: 'Provided task does not exist'`);
    }
    return entry;
  }

  #close(token: string): void {
    if (this.#open.delete(token)) {
      this.#closed.add(token);
    }
  }
}
