import { join } from 'node:path';
import { startMariadb } from '../mariadb/start-mariadb.ts';
import type { DemoDatabase } from './demo-database.ts';
import { loadShop, shopSize } from './load-shop.ts';
import { mariadbPrograms } from './server-programs.ts';

/** The shop of the demo, in MariaDB; at `scale` 1 a few hundred MB. */
export const mariadbShop = (scale: number): DemoDatabase => ({
  programs: mariadbPrograms,
  clusterFile: () => ({ engine: 'mariadb-backup' }),
  size: shopSize(scale),
  load: (connection, onProgress) => loadShop(connection, scale, onProgress),
  newTable: [
    'CREATE TABLE shop.reviews (id INT PRIMARY KEY, product INT UNSIGNED NOT NULL, stars TINYINT NOT NULL, words TEXT)',
    `INSERT INTO shop.reviews SELECT seq, seq, 1 + seq % 5, REPEAT(MD5(seq), 4) FROM seq_1_to_${Math.round(20_000 * scale)}`,
  ],
  dropAndAlter: ['DROP TABLE archive.old_prices', 'ALTER TABLE archive.documents ADD COLUMN seen_at DATETIME NULL'],
  startSecond: ({ socketDirectory }, dataDirectory) =>
    startMariadb({ directory: join(socketDirectory, 'second'), dataDirectory }),
});
