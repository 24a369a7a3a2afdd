import type { Lsn } from '#core/lsn.ts';
import type { BinlogPosition } from '#core/manifest.ts';
import type { ServerIdentity } from '#core/server-identity.ts';

/** An InnoDB tablespace with a file of its own. */
export interface Tablespace {
  /** As the server names it: `app/t`, `app/t#P#p0`. */
  readonly name: string;
  /** The path it has in a backup, relative to the data directory: `app/t.ibd`, `app/t#P#p0.ibd`, `app/t@0024x.ibd`. */
  readonly path: string;
  readonly spaceId: number;
  readonly encrypted: boolean;
}

/** What a probe saw. Two probes, before and after a backup, show whether it was the same server all the time. */
export interface ServerFacts {
  readonly identity: ServerIdentity;
  /** `@@version`, whole. */
  readonly version: string;
  /** When this server process started, in seconds since the epoch by the server's clock; constant while it runs. */
  readonly startedAt: number;
  /** Of the server process, where its pid file can be read. */
  readonly pid?: number;
  /** The newest redo. */
  readonly lsn: Lsn;
  /** Absent where the server writes no binary log. */
  readonly binlog?: BinlogPosition;
  /** What the server has executed: a GTID set (MySQL), or the binlog state and, after `|`, the replica position (MariaDB); see `gtidContained`. */
  readonly gtid: string;
  readonly readOnly: boolean;
  readonly tablespaces: readonly Tablespace[];
  /** Sum of the tablespaces' files and the system tablespace, in bytes: what a full will copy, more or less. */
  readonly dataBytes: number;
  /** `SHOW GLOBAL VARIABLES`, by lower-case name. */
  readonly variables: Readonly<Record<string, string>>;
}
