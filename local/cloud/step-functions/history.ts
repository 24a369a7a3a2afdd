import type { JsonObject } from '../json.ts';

/** One event as GetExecutionHistory answers it. */
export interface HistoryEvent {
  readonly id: number;
  readonly previousEventId: number;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  readonly type: string;
  /** Such as `stateEnteredEventDetails`; absent where the event type has none. */
  readonly details?: readonly [name: string, value: JsonObject];
}

/** An execution's events, each also handed to a listener the moment it happens. */
export class History {
  readonly events: HistoryEvent[] = [];
  readonly #listener: (event: HistoryEvent) => void;

  constructor(listener: (event: HistoryEvent) => void) {
    this.#listener = listener;
  }

  record(type: string, previousEventId: number, details?: readonly [name: string, value: JsonObject]): number {
    const id = this.events.length + 1;
    const event = { id, previousEventId, timestamp: Date.now(), type, ...(details === undefined ? {} : { details }) };
    this.events.push(event);
    this.#listener(event);
    return id;
  }
}

/** One line of history: events of parallel branches each follow their own branch. */
export class Thread {
  readonly #history: History;
  #previous: number;

  constructor(history: History, previous = 0) {
    this.#history = history;
    this.#previous = previous;
  }

  record(type: string, details?: readonly [name: string, value: JsonObject]): void {
    this.#previous = this.#history.record(type, this.#previous, details);
  }

  fork(): Thread {
    return new Thread(this.#history, this.#previous);
  }
}

/** The event as it goes over the wire. */
export const wireEvent = (event: HistoryEvent, includeExecutionData = true): object => {
  const { details, timestamp, ...rest } = event;
  const shown =
    details === undefined
      ? {}
      : {
          [details[0]]: includeExecutionData
            ? details[1]
            : Object.fromEntries(
                Object.entries(details[1]).filter(([key]) => !['input', 'output', 'parameters'].includes(key)),
              ),
        };
  return { ...rest, timestamp: timestamp / 1000, ...shown };
};
