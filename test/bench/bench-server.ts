import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createConnection } from 'mysql2/promise';
import { loadShop } from '#local/demo/load-shop.ts';
import { type Mariadb, startMariadb } from '#local/mariadb/start-mariadb.ts';

/** Of `loadShop`, where the bench's scale is 1. */
const SHOP_SCALE = 2;
const LETTERS = 400_000;

/** About a kilobyte of which zstd cannot make less than three quarters. */
const letter = `TO_BASE64(UNHEX(CONCAT(${Array.from({ length: 12 }, (_, index) => `SHA2(seq + ${index * 1_000_000_007}, 512)`).join(', ')})))`;

export interface BenchServer extends AsyncDisposable {
  readonly server: Mariadb;
  /** With `[client] user=root`. */
  readonly optionFile: string;
  /** Changes about a tenth of the data, so that an increment has something to carry. */
  change(): Promise<void>;
}

/**
 * A MariaDB server with about 1 GB at `scale` 1: the shop of the demo, whose rows compress well, and a table of letters, whose rows do not; together
 * they compress 3 : 1, as databases do.
 */
export const startBenchServer = async (directory: string, scale: number): Promise<BenchServer> => {
  const server = await startMariadb({
    directory: join(directory, 'server'),
    bufferPool: '512M',
    redoLog: '128M',
    // Durable once it is loaded: the clean restart below.
    options: ['--innodb-flush-log-at-trx-commit=0', '--innodb-fast-shutdown=0', '--innodb-doublewrite=0'],
  });
  const optionFile = join(directory, 'client.cnf');
  writeFileSync(optionFile, '[client]\nuser=root\n', { mode: 0o600 });
  const connection = await createConnection({ socketPath: server.socket, user: 'root' });
  const letters = Math.round(LETTERS * scale);
  await loadShop(connection, SHOP_SCALE * scale);
  await connection.query('CREATE TABLE archive.letters (id INT UNSIGNED NOT NULL PRIMARY KEY, body TEXT NOT NULL)');
  await connection.query(`INSERT INTO archive.letters SELECT seq, ${letter} FROM seq_1_to_${letters}`);
  connection.destroy();
  // Purge, flush and merge everything now, not while backups are timed.
  await server.stop();
  await server.start();
  let changes = 0;
  return {
    server,
    optionFile,
    change: async () => {
      const first = (changes++ % 10) * Math.round(letters / 10);
      const range = `BETWEEN ${first + 1} AND ${first + Math.round(letters / 10)}`;
      await server.query(`UPDATE archive.letters SET body = REVERSE(body) WHERE id ${range}`);
      await server.query(`UPDATE archive.events SET payload = REVERSE(payload) WHERE id ${range}`);
      await server.query('UPDATE shop.customers SET last_seen = NOW(6) WHERE id % 10 = 0');
    },
    [Symbol.asyncDispose]: () => server.stop(),
  };
};
