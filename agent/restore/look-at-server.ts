import { RedoubtError } from '#core/errors.ts';
import { readCanary } from '../server/canary.ts';
import { readCredentials } from '../server/option-file.ts';
import { ServerConnection } from '../server/server-connection.ts';
import type { LookAtServer, ServerLook } from './replace-data-directory.ts';

const WANTED = ['datadir', 'innodb_data_home_dir', 'innodb_log_group_home_dir', 'innodb_undo_directory', 'log_error'];

/** What the server at the socket says of itself; `undefined` where none answers, or one that is just going down. */
export const lookAtServer: LookAtServer = async (server, canary): Promise<ServerLook | undefined> => {
  const credentials = readCredentials(server.optionFile);
  try {
    await using connection = await ServerConnection.open(server.socket, credentials);
    const rows = await connection.query(
      `SHOW GLOBAL VARIABLES WHERE Variable_name IN (${['version', ...WANTED].map(() => '?').join(', ')})`,
      ['version', ...WANTED],
    );
    const variables = Object.fromEntries(rows.map((row) => [String(row.Variable_name), row.Value ?? '']));
    return {
      version: variables.version ?? 'of unknown version',
      variables,
      hasCanary: canary !== undefined && (await readCanary(connection, canary.backup)) !== 'absent',
    };
  } catch (error) {
    if (error instanceof RedoubtError && error.code === 'ServerUnreachable') return undefined;
    throw error;
  }
};
