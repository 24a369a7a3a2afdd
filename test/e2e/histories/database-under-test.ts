import type { ClusterConfig, Encryption } from '#core/cluster-config.ts';
import type { Transition } from '#core/tablespace-encryption.ts';

/** Whoever answers queries: the server, or a second one on a restored directory. */
export interface Answering {
  query(sql: string): Promise<readonly Record<string, unknown>[]>;
}

export interface TableOptions {
  readonly encrypted: boolean;
  readonly partitioned: boolean;
}

/** A server that a history happens to, and what differs between one flavour and another. */
export interface DatabaseUnderTest extends Answering {
  readonly directory: string;
  readonly config: Pick<ClusterConfig, 'engine' | 'engineDirectory' | 'server' | 'tablespaceEncryption'>;
  readonly modes: readonly Encryption['mode'][];
  readonly transitions: readonly Transition[];
  readonly keyringFile: string;
  /** The keys in it that tablespaces may need, in one comparable form each. */
  keys(): readonly string[];
  /** Whether a server with a new data directory can be told from the old one by more than the canary. */
  readonly hasOwnIdentity: boolean;
  /** Of the server's process. */
  readonly pid: number;
  start(): Promise<void>;
  stop(): Promise<void>;
  kill(): Promise<void>;
  /** Every change is in the data files when it returns. */
  flush(): Promise<void>;
  /** From now on changes stay in memory and in the redo log, for a while at least. */
  stayDirty(): Promise<void>;
  /** What follows `CREATE TABLE name (…)`. */
  createOptions(options: TableOptions): string;
  /** What follows `ALTER TABLE name`. */
  alterOptions(encrypted: boolean): string;
  /** A new master key, or a new key that tables get from now on. */
  rotate(): Promise<void>;
  /** Stops the server, removes every key that it can do without, and starts it again. */
  pruneKeyring(): Promise<void>;
  /** A shell command that is a client of the server and runs these statements. */
  clientCommand(sql: string): string;
  /** A shell command that does what `rotate` does to the keyring. */
  rotateCommand(): string;
  /** A new, empty data directory in the place of the old one, which the server is stopped for and started on. */
  rebuild(): Promise<void>;
  /** Called when another directory has taken the place of the data directory, before the server is started on it. */
  adoptDirectory(): void;
  /** An engine directory whose `--backup` is this script: `"$PROGRAM" "$@"` is the engine. */
  engineThat(script: string): string;
  /** A server on a restored directory, with that keyring. */
  lookAt<T>(dataDirectory: string, keyring: string, look: (server: Answering) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}
