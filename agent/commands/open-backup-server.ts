import type { BackupInstruction } from '#core/agent-protocol.ts';
import { historyTable } from '../engines/history-table.ts';
import { readCanary, writeCanary } from '../server/canary.ts';
import { checkPrivileges } from '../server/check-privileges.ts';
import { historyLsn } from '../server/history-lsn.ts';
import { readCredentials } from '../server/option-file.ts';
import { probeServer } from '../server/probe-server.ts';
import { ServerConnection } from '../server/server-connection.ts';
import type { BackupServer } from './backup-server.ts';

/**
 * The server of the instruction, with the user of the host's option file. A connection for each question: hours pass between
 * the first and the last, and idle connections do not last. Throws `InvalidInput` where the option file cannot be used.
 */
export const openBackupServer = async ({
  server,
  engine: name,
  history,
  engineOptions,
}: BackupInstruction): Promise<BackupServer> => {
  const credentials = readCredentials(server.optionFile);
  const ask = async <T>(question: (connection: ServerConnection) => Promise<T>): Promise<T> => {
    await using connection = await ServerConnection.open(server.socket, credentials);
    return await question(connection);
  };
  return {
    credentials,
    probe: () => ask((connection) => probeServer(connection, server)),
    checkPrivileges: (engine) =>
      ask((connection) =>
        checkPrivileges(
          connection,
          { name, series: engine.series },
          { history: history !== undefined, options: engineOptions },
        ),
      ),
    historyLsn: ({ series }, lookup) =>
      ask((connection) => historyLsn(connection, historyTable({ name, series }), lookup)),
    canaryOf: (backup) => ask((connection) => readCanary(connection, backup)),
    writeCanary: (canary, facts) => ask((connection) => writeCanary(connection, facts, canary)),
  };
};
