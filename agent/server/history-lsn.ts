import type { HistoryLookup } from '#core/backup-history.ts';
import { type Lsn, parseLsn } from '#core/lsn.ts';
import { type ServerConnection, serverErrorCode } from './server-connection.ts';

/** What the engine would find in the history: of a series the highest LSN. `undefined` where there is no such record, or no table. */
export const historyLsn = async (
  connection: ServerConnection,
  table: string,
  { by, value }: HistoryLookup,
): Promise<Lsn | undefined> => {
  try {
    const [row] = await connection.query(
      `SELECT innodb_to_lsn FROM ${table} WHERE ${by} = ? AND innodb_to_lsn IS NOT NULL ORDER BY innodb_to_lsn DESC LIMIT 1`,
      [value],
    );
    return parseLsn(row?.innodb_to_lsn ?? '');
  } catch (error) {
    if (['ER_NO_SUCH_TABLE', 'ER_BAD_DB_ERROR'].includes(serverErrorCode(error) ?? '')) return undefined;
    throw error;
  }
};
