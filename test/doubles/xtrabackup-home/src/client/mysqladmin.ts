import { Client, ClientError } from '../wire/client.ts';
import { clientArguments } from './connection-options.ts';

const { connection, rest } = clientArguments(process.argv.slice(2));

try {
  const client = await Client.connect(connection);
  if (rest.includes('shutdown')) {
    const [row] = (await client.query("SHOW VARIABLES LIKE 'pid_file'")).rows;
    await client.shutdown();
    client.close();
    // Returns only once the server has ended: its pid file is gone then.
    const { existsSync } = await import('node:fs');
    const { setTimeout: sleep } = await import('node:timers/promises');
    for (let waited = 0; row?.Value && existsSync(row.Value) && waited < 60_000; waited += 20) await sleep(20);
  } else {
    if (rest.includes('ping')) process.stdout.write('mysqld is alive\n');
    client.close();
  }
} catch (error) {
  if (!(error instanceof ClientError)) throw error;
  process.stderr.write(
    `mysqladmin: connect to server at '${connection.host ?? 'localhost'}' failed\nerror: '${error.message}'\n`,
  );
  process.exitCode = 1;
}
