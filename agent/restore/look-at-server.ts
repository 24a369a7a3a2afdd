import { createConnection } from 'mysql2/promise';
import type { LookAtServer } from './replace-data-directory.ts';

export const lookAtServer: LookAtServer = async (server, canary) => {
  let connection;
  try {
    connection = await createConnection({ socketPath: server.socket, user: 'root' });
  } catch {
    return undefined;
  }
  try {
    const [rows] = await connection.query('SHOW GLOBAL VARIABLES');
    const variables = Object.fromEntries(
      (rows as { Variable_name: string; Value: string }[]).map((r) => [r.Variable_name, r.Value]),
    );
    let hasCanary = false;
    if (canary) {
      try {
        const [found] = await connection.query('SELECT 1 FROM redoubt.canary WHERE backup = ?', [canary.backup]);
        hasCanary = (found as unknown[]).length === 1;
      } catch {}
    }
    return { version: variables.version ?? '', variables, hasCanary };
  } finally {
    connection.destroy();
  }
};
