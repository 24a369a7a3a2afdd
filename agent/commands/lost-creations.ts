import type { Tablespace } from '../server/server-facts.ts';

export interface CreationsSeen {
  /** What the server knew before the engine started. */
  readonly before: readonly Tablespace[];
  /** What it knew after the engine had ended. */
  readonly after: readonly Tablespace[];
  /** Paths that a restore of the stream brings into being. */
  readonly restorable: ReadonlySet<string>;
  /** When the engine let go of its locks, as the agent saw it, in milliseconds. */
  readonly releasedAt: number;
  /** When the tablespace's file was made, in milliseconds; `undefined` where that cannot be told. */
  readonly bornAt: (tablespace: Tablespace) => number | undefined;
}

/**
 * How much earlier than its line was read the engine may have let go of the locks. It blocks DDL for longer than that before, so
 * nothing that must be in the backup is made in that time.
 */
const RELEASE_SLACK_MS = 1_000;

/** `ALTER TABLE` works in tables of such names; they come and go. */
const INTERMEDIATE = /(^|\/)#sql/;

/**
 * Tablespaces that were made while the engine copied and that the backup has not, for an engine that copies such tables in the
 * end (mariadb-backup). One made after the engine had let go of the server is none: its file is younger than that.
 */
export const lostCreations = (seen: CreationsSeen): readonly Tablespace[] => {
  const before = new Set(seen.before.map(({ spaceId }) => spaceId));
  return seen.after.filter((tablespace) => {
    if (before.has(tablespace.spaceId) || seen.restorable.has(tablespace.path)) return false;
    if (INTERMEDIATE.test(tablespace.path)) return false;
    const born = seen.bornAt(tablespace);
    return born !== undefined && born < seen.releasedAt - RELEASE_SLACK_MS;
  });
};
