import type { Connection } from 'mysql2/promise';
import type { DatabaseHost } from './database-host.ts';
import type { ShopSize } from './load-shop.ts';
import type { ServerPrograms } from './server-programs.ts';

/** The database a scenario is played on: what differs between one server and another, and nothing of the story. */
export interface DemoDatabase {
  readonly programs: ServerPrograms;
  /** What the cluster file says of the engine and its keys. */
  readonly clusterFile: (host: DatabaseHost) => Readonly<Record<string, unknown>>;
  readonly size: ShopSize;
  /** Fills three schemas; tells after each statement which part of the work is done. */
  readonly load: (connection: Connection, onProgress: (fraction: number) => void) => Promise<void>;
  /** A new table, `shop.reviews`; between the full and the first increment. */
  readonly newTable: readonly string[];
  /** A table dropped, another one altered; before the last increment. */
  readonly dropAndAlter: readonly string[];
  /** A second server of `host`, on a restored directory. */
  readonly startSecond: (
    host: DatabaseHost,
    dataDirectory: string,
  ) => Promise<AsyncDisposable & { readonly socket: string }>;
}
