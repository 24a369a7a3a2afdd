import {
  SendTaskFailureCommand,
  SendTaskHeartbeatCommand,
  SendTaskSuccessCommand,
  SFNClient,
} from '@aws-sdk/client-sfn';

/** What came of a message about a task. `gone`: nobody waits for it any more. `unheard`: nobody could be reached. */
export type Hearing = 'heard' | 'gone' | 'unheard';

/** The one who asked, behind a task token. Nothing here throws. */
export interface Task {
  /** Settles with the signal at the latest. */
  heartbeat(signal: AbortSignal): Promise<Hearing>;
  succeed(output: string): Promise<Hearing>;
  fail(error: string, cause: string): Promise<Hearing>;
}

const GONE = new Set(['TaskTimedOut', 'TaskDoesNotExist', 'InvalidToken']);

const hearing = async (work: Promise<unknown>): Promise<Hearing> => {
  try {
    await work;
    return 'heard';
  } catch (error) {
    return error instanceof Error && GONE.has(error.name) ? 'gone' : 'unheard';
  }
};

/** Whatever the client waits for, credentials included. */
const unlessAborted = (work: Promise<Hearing>, signal: AbortSignal): Promise<Hearing> =>
  new Promise((resolve) => {
    const stop = (): void => resolve('unheard');
    if (signal.aborted) return stop();
    signal.addEventListener('abort', stop, { once: true });
    void work.then(resolve).finally(() => signal.removeEventListener('abort', stop));
  });

/** A heartbeat that is late is as good as none: few tries. An answer is worth waiting for. */
export const createSfnClients = (): { readonly beating: SFNClient; readonly answering: SFNClient } => ({
  beating: new SFNClient({ maxAttempts: 2, requestHandler: { connectionTimeout: 5_000, socketTimeout: 10_000 } }),
  answering: new SFNClient({ maxAttempts: 10, requestHandler: { connectionTimeout: 10_000, socketTimeout: 20_000 } }),
});

export const sfnTask = (clients: ReturnType<typeof createSfnClients>, taskToken: string): Task => ({
  heartbeat: (signal) =>
    unlessAborted(
      hearing(clients.beating.send(new SendTaskHeartbeatCommand({ taskToken }), { abortSignal: signal })),
      signal,
    ),
  succeed: (output) => hearing(clients.answering.send(new SendTaskSuccessCommand({ taskToken, output }))),
  fail: (error, cause) => hearing(clients.answering.send(new SendTaskFailureCommand({ taskToken, error, cause }))),
});
