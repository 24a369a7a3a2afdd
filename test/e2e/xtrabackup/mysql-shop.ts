import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { RowDataPacket } from 'mysql2/promise';
import { missingPrivileges } from '#agent/server/check-privileges.ts';
import type { DemoDatabase } from '#local/demo/demo-database.ts';
import { openingBalance } from '#local/demo/load-shop.ts';
import type { HostPaths, ServerPrograms } from '#local/demo/server-programs.ts';
import { engineHome, programPath, versionOf } from '#test/contract/xtrabackup/engine-home.ts';
import { flushPages, LabServer } from '#test/contract/xtrabackup/lab-server.ts';

const run = promisify(execFile);

const homeOptions = [`basedir=${engineHome}`, `lc-messages-dir=${join(engineHome, 'share')}`];

const keyringOf = ({ directory }: HostPaths): string => join(directory, 'keyring', 'keyring');

const { LD_LIBRARY_PATH } = process.env;

/** The `GRANT` statements of the hint that a user without any privilege gets. */
const grants = (): readonly string[] => {
  const series = /^\d+\.\d+/.exec(versionOf('xtrabackup'))?.[0] ?? '';
  const { statement } = missingPrivileges({ name: 'xtrabackup', series }, true, 'redoubt@localhost', []);
  return statement.split(/(?<=;) /);
};

const mysqlPrograms = (): ServerPrograms => ({
  server: programPath('mysqld'),
  ...(LD_LIBRARY_PATH === undefined ? {} : { environment: { LD_LIBRARY_PATH } }),
  ping: [programPath('mysql'), '--no-defaults', '-e', 'SELECT 1'],
  options: (paths) => [
    ...homeOptions,
    'log-bin=binlog',
    `plugin-dir=${join(engineHome, 'lib/plugin')}`,
    'early-plugin-load=keyring_file.so',
    `keyring_file_data=${keyringOf(paths)}`,
  ],
  keyring: keyringOf,
  initialize: async (paths) => {
    mkdirSync(dirname(keyringOf(paths)), { recursive: true, mode: 0o750 });
    await run(programPath('mysqld'), [
      '--no-defaults',
      '--initialize-insecure',
      `--user=${paths.owner}`,
      ...homeOptions.map((option) => `--${option}`),
      `--datadir=${paths.dataDirectory}`,
    ]);
  },
  grants: grants(),
});

const size = { customers: 200, products: 50, accounts: 100 } as const;

// Only what MySQL 5.7, MySQL 8 and the stand-in all take. What is encrypted: a table at rest, and the one whose numbers have no gap.
const schema = [
  'CREATE DATABASE shop',
  'CREATE DATABASE billing',
  'CREATE DATABASE archive',
  'CREATE TABLE shop.customers (id INT NOT NULL PRIMARY KEY, email VARCHAR(120) NOT NULL, last_seen DATETIME(6) NULL)',
  'CREATE TABLE shop.addresses (id INT NOT NULL PRIMARY KEY, customer INT NOT NULL, street VARCHAR(100) NOT NULL)',
  'CREATE TABLE shop.products (id INT NOT NULL PRIMARY KEY, name VARCHAR(100) NOT NULL, in_stock INT NOT NULL)',
  // Its name is part of a file name, which the server encodes.
  'CREATE TABLE shop.`größen` (id INT NOT NULL PRIMARY KEY, bezeichnung VARCHAR(40) NOT NULL)',
  `CREATE TABLE shop.orders (
     id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, placed DATE NOT NULL, customer INT NOT NULL, product INT NOT NULL,
     amount DECIMAL(12,2) NOT NULL, note VARCHAR(200), KEY (customer)
   )`,
  'CREATE TABLE billing.accounts (id INT NOT NULL PRIMARY KEY, balance DECIMAL(14,2) NOT NULL)',
  `CREATE TABLE billing.transfers (
     id BIGINT NOT NULL PRIMARY KEY, payer INT NOT NULL, payee INT NOT NULL, amount DECIMAL(14,2) NOT NULL, at DATETIME(6) NOT NULL
   ) ENCRYPTION='Y'`,
  "CREATE TABLE billing.invoices (id INT NOT NULL PRIMARY KEY, pdf VARCHAR(2000) NOT NULL) ENCRYPTION='Y'",
  'CREATE TABLE archive.events (id BIGINT NOT NULL PRIMARY KEY, kind VARCHAR(20) NOT NULL, payload VARCHAR(400) NOT NULL)',
  'CREATE TABLE archive.documents (id INT NOT NULL PRIMARY KEY, title VARCHAR(200) NOT NULL, body VARCHAR(4000) NOT NULL)',
  'CREATE TABLE archive.old_prices (id INT NOT NULL PRIMARY KEY, price DECIMAL(12,4) NOT NULL)',
  // Not InnoDB: copied under the lock at the end of a backup.
  'CREATE TABLE archive.settings (name VARCHAR(60) NOT NULL PRIMARY KEY, value VARCHAR(200)) ENGINE=MyISAM',
];

const noise = (bytes: number): string => randomBytes(bytes).toString('hex');

const insert = (table: string, count: number, row: (number: number) => string): string =>
  `INSERT INTO ${table} VALUES ${Array.from({ length: count }, (_, index) => `(${row(index + 1)})`).join(', ')}`;

const content = (): readonly string[] => [
  insert('shop.customers', size.customers, (number) => `${number}, 'customer${number}@example.net', NULL`),
  insert('shop.addresses', 100, (number) => `${number}, ${number}, 'Straße ${noise(20)}'`),
  insert('shop.products', size.products, (number) => `${number}, 'Product ${number}', 1000000`),
  insert('shop.`größen`', 3, (number) => `${number}, 'Größe ${number}'`),
  insert('billing.accounts', size.accounts, (number) => `${number}, ${openingBalance}`),
  insert('billing.invoices', 400, (number) => `${number}, '${noise(600)}'`),
  insert('archive.events', 1500, (number) => `${number}, 'view', '${noise(60)}'`),
  insert('archive.documents', 300, (number) => `${number}, 'Document ${number}', '${noise(1500)}'`),
  insert('archive.old_prices', 500, (number) => `${number}, ${number / 4}`),
  insert('archive.settings', 100, (number) => `'setting ${number}', '${noise(20)}'`),
];

const rotate = 'ALTER INSTANCE ROTATE INNODB MASTER KEY';

/** The shop of the demo, in the MySQL of the installation under test, with a keyring whose master key is rotated on the way. */
export const mysqlShop = (): DemoDatabase => ({
  programs: mysqlPrograms(),
  clusterFile: (host) => ({
    engine: 'xtrabackup',
    engineDirectory: join(engineHome, 'bin'),
    tablespaceEncryption: { kind: 'keyring-file', path: keyringOf(host) },
  }),
  size,
  load: async (connection, onProgress) => {
    const statements = [...schema, ...content()];
    for (const [index, statement] of statements.entries()) {
      await connection.query(statement);
      onProgress((index + 1) / statements.length);
    }
    // XtraBackup passes over an encrypted table whose first page was never written.
    await flushPages(async (sql) => {
      const [rows] = await connection.query<RowDataPacket[]>(sql);
      return rows;
    });
    await connection.query('SET GLOBAL innodb_max_dirty_pages_pct = 75');
  },
  newTable: [
    rotate,
    'CREATE TABLE shop.reviews (id INT NOT NULL PRIMARY KEY, stars INT NOT NULL, words VARCHAR(400))',
    insert('shop.reviews', 300, (number) => `${number}, ${1 + (number % 5)}, '${noise(60)}'`),
  ],
  dropAndAlter: [
    'DROP TABLE archive.old_prices',
    rotate,
    // In place: an instant column is more than some XtraBackup 8.0 back up.
    'ALTER TABLE archive.documents ADD COLUMN seen_at DATETIME NULL, ALGORITHM=INPLACE',
  ],
  startSecond: async (host, dataDirectory) => {
    // Of its own: a server writes to its keyring.
    const keyring = join(host.socketDirectory, 'second-keyring');
    copyFileSync(keyringOf(host), keyring);
    const server = new LabServer({
      dataDirectory,
      socket: join(host.socketDirectory, 'second.sock'),
      errorLog: join(host.directory, 'second.log'),
      keyring,
    });
    await server.start();
    return { socket: server.files.socket, [Symbol.asyncDispose]: () => server.stop() };
  },
});
