import { type Canary, canarySchema } from '#core/manifest.ts';
import { type ServerConnection, serverErrorCode } from './server-connection.ts';
import type { ServerFacts } from './server-facts.ts';

/** Rows left: far more than there can be runs between a backup and the next one on it. */
const KEPT = 200;

/**
 * A canary proves descent only if it never leaves its server: were it replicated, a host rebuilt from its replica would get it
 * back, with another history of pages. So neither the row nor its table ever reaches the binary log.
 */
const outsideTheBinlog = async (connection: ServerConnection, facts: ServerFacts): Promise<void> => {
  if (facts.variables.log_bin === 'ON') await connection.query('SET SESSION sql_log_bin = 0');
};

/**
 * Leaves the canary in the server, durable before it returns, and removes those too old to matter. `read-only` where the server takes
 * no writes from this user (`read_only`, without READ_ONLY ADMIN): then the GTID set has to show descent.
 * Throws `PrivilegesMissing`.
 */
export const writeCanary = async (
  connection: ServerConnection,
  facts: ServerFacts,
  canary: Canary,
): Promise<'written' | 'read-only'> => {
  try {
    await outsideTheBinlog(connection, facts);
    await connection.query('CREATE DATABASE IF NOT EXISTS redoubt');
    await connection.query(
      'CREATE TABLE IF NOT EXISTS redoubt.canary (backup VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY, written_at VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL) ENGINE=InnoDB',
    );
    await connection.query('REPLACE INTO redoubt.canary (backup, written_at) VALUES (?, ?)', [
      canary.backup,
      canary.writtenAt,
    ]);
    // Ids begin with their time, so their order is that of the backups.
    const [oldest] = await connection.query(
      `SELECT backup FROM redoubt.canary ORDER BY backup DESC LIMIT 1 OFFSET ${KEPT - 1}`,
    );
    if (oldest?.backup) await connection.query('DELETE FROM redoubt.canary WHERE backup < ?', [oldest.backup]);
    return 'written';
  } catch (error) {
    if (['ER_OPTION_PREVENTS_STATEMENT', 'ER_READ_ONLY_MODE'].includes(serverErrorCode(error) ?? ''))
      return 'read-only';
    throw error;
  }
};

/** The canary of `backup` as the server holds it. */
export const readCanary = async (connection: ServerConnection, backup: string): Promise<Canary | 'absent'> => {
  try {
    const [row] = await connection.query('SELECT backup, written_at FROM redoubt.canary WHERE backup = ?', [backup]);
    const canary = canarySchema.safeParse({ backup: row?.backup, writtenAt: row?.written_at });
    return canary.success ? canary.data : 'absent';
  } catch (error) {
    if (['ER_NO_SUCH_TABLE', 'ER_BAD_DB_ERROR'].includes(serverErrorCode(error) ?? '')) return 'absent';
    throw error;
  }
};
