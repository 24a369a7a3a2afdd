import type { Connection } from 'mysql2/promise';

/** Rows at `scale` 1, about 350 MB on disk. */
const rows = {
  customers: 150_000,
  products: 20_000,
  orders: 300_000,
  accounts: 10_000,
  invoices: 50_000,
  events: 500_000,
  documents: 6_000,
} as const;

/** What every account begins with; money only ever moves between them, so the sum tells a whole transaction from a torn one. */
export const openingBalance = 1000;

/** Tables the writer never touches: a checksum of theirs taken before a backup must be found again after its restore. */
export const tablesAtRest = [
  'archive.documents',
  'archive.events',
  'archive.old_prices',
  'archive.settings',
  'billing.invoices',
  'shop.addresses',
  'shop.größen',
] as const;

const schema = [
  'CREATE DATABASE shop CHARACTER SET utf8mb4',
  'CREATE DATABASE billing CHARACTER SET utf8mb4',
  'CREATE DATABASE archive CHARACTER SET utf8mb4',
  // The sequence engine's tables (seq_1_to_…) need a default database.
  'USE shop',
  `CREATE TABLE shop.customers (
     id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
     email VARCHAR(120) NOT NULL,
     name VARCHAR(80) NOT NULL,
     settings JSON NOT NULL,
     newsletter TINYINT(1) AS (JSON_VALUE(settings, '$.newsletter') = '1') STORED,
     born DATE,
     last_seen DATETIME(6),
     level ENUM('new', 'silver', 'gold') NOT NULL DEFAULT 'new',
     UNIQUE KEY (email), KEY (last_seen)
   )`,
  `CREATE TABLE shop.addresses (
     id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
     customer INT UNSIGNED NOT NULL,
     street VARCHAR(100) NOT NULL,
     city VARCHAR(60) NOT NULL,
     place POINT NOT NULL,
     SPATIAL KEY (place),
     FOREIGN KEY (customer) REFERENCES shop.customers (id) ON DELETE CASCADE
   )`,
  `CREATE TABLE shop.products (
     id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
     name VARCHAR(100) NOT NULL,
     price DECIMAL(12,4) NOT NULL,
     weight DOUBLE,
     description TEXT NOT NULL,
     in_stock INT NOT NULL DEFAULT 1000000,
     FULLTEXT KEY (description)
   )`,
  // Its name is part of a file name, which the server encodes.
  `CREATE TABLE shop.größen (id INT PRIMARY KEY, bezeichnung VARCHAR(40) NOT NULL)`,
  `CREATE TABLE shop.orders (
     id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
     placed DATE NOT NULL,
     customer INT UNSIGNED NOT NULL,
     product INT UNSIGNED NOT NULL,
     amount DECIMAL(12,2) NOT NULL,
     note VARCHAR(200),
     PRIMARY KEY (id, placed), KEY (customer)
   )
   PARTITION BY RANGE (YEAR(placed)) (
     PARTITION before_2025 VALUES LESS THAN (2025),
     PARTITION in_2025 VALUES LESS THAN (2026),
     PARTITION in_2026 VALUES LESS THAN (2027),
     PARTITION later VALUES LESS THAN MAXVALUE
   )`,
  'CREATE TABLE billing.accounts (id INT UNSIGNED NOT NULL PRIMARY KEY, balance DECIMAL(14,2) NOT NULL)',
  `CREATE TABLE billing.transfers (
     id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
     payer INT UNSIGNED NOT NULL,
     payee INT UNSIGNED NOT NULL,
     amount DECIMAL(14,2) NOT NULL,
     at DATETIME(6) NOT NULL,
     FOREIGN KEY (payer) REFERENCES billing.accounts (id),
     FOREIGN KEY (payee) REFERENCES billing.accounts (id)
   )`,
  `CREATE TABLE billing.invoices (
     id INT UNSIGNED NOT NULL PRIMARY KEY,
     due DATE NOT NULL,
     total DECIMAL(14,2) NOT NULL,
     tax BIT(3) NOT NULL,
     pdf BLOB NOT NULL,
     KEY (due)
   )`,
  `CREATE TABLE archive.events (
     id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
     at DATETIME(3) NOT NULL,
     kind VARCHAR(20) CHARACTER SET ascii NOT NULL,
     payload VARCHAR(400) NOT NULL,
     KEY (at)
   )`,
  `CREATE TABLE archive.documents (
     id INT UNSIGNED NOT NULL PRIMARY KEY,
     title VARCHAR(200) NOT NULL,
     body MEDIUMBLOB NOT NULL
   ) ROW_FORMAT=DYNAMIC`,
  'CREATE TABLE archive.old_prices (id INT UNSIGNED NOT NULL PRIMARY KEY, price DECIMAL(12,4) NOT NULL, until DATE NOT NULL)',
  // Not InnoDB: copied under the lock at the end of a backup.
  'CREATE TABLE archive.settings (name VARCHAR(60) NOT NULL PRIMARY KEY, value TEXT) ENGINE=Aria',
];

/** 64 bytes that do not compress. */
const noise = (seed: string): string => `UNHEX(SHA2(${seed}, 512))`;

const content = (count: (rows: number) => number): readonly string[] => [
  `INSERT INTO shop.customers (email, name, settings, born, last_seen)
   SELECT CONCAT('customer', seq, '@example.net'), CONCAT(ELT(1 + seq % 5, 'Zoë', 'Björn', '美咲', 'Łukasz', 'Ana 🌻'), ' ', MD5(seq)),
          JSON_OBJECT('newsletter', seq % 3 = 0, 'theme', ELT(1 + seq % 2, 'dark', 'light'), 'token', SHA2(seq, 256)),
          '1950-01-01' + INTERVAL seq % 20000 DAY, '2026-01-01' + INTERVAL seq % 86400 SECOND
   FROM seq_1_to_${count(rows.customers)}`,
  `INSERT INTO shop.addresses (customer, street, city, place)
   SELECT seq, CONCAT(MD5(seq + 7), ' Straße ', seq % 200), ELT(1 + seq % 4, 'Köln', 'Kraków', '大阪', 'Oslo'),
          POINT(seq % 360 * 0.5, seq % 180 * 0.5)
   FROM seq_1_to_${count(rows.customers / 3)}`,
  `INSERT INTO shop.products (name, price, weight, description)
   SELECT CONCAT('Product ', seq), seq % 9973 / 7, SQRT(seq),
          CONCAT_WS(' ', ELT(1 + seq % 4, 'red', 'green', 'blue', 'striped'), ELT(1 + seq % 3, 'chair', 'lamp', 'table'), MD5(seq), MD5(seq + 1))
   FROM seq_1_to_${count(rows.products)}`,
  `INSERT INTO shop.größen VALUES (1, 'klein'), (2, 'mittel'), (3, 'groß')`,
  `INSERT INTO shop.orders (placed, customer, product, amount, note)
   SELECT '2024-06-01' + INTERVAL seq % 900 DAY, 1 + seq % ${count(rows.customers)}, 1 + seq % ${count(rows.products)},
          seq % 5000 / 10, IF(seq % 4 = 0, MD5(seq), NULL)
   FROM seq_1_to_${count(rows.orders)}`,
  `INSERT INTO billing.accounts SELECT seq, ${openingBalance} FROM seq_1_to_${rows.accounts}`,
  `INSERT INTO billing.invoices
   SELECT seq, '2025-01-01' + INTERVAL seq % 700 DAY, seq % 100000 / 9, seq % 8,
          CONCAT(${noise('seq')}, REPEAT('PDF ', 100), ${noise('seq + 1')})
   FROM seq_1_to_${count(rows.invoices)}`,
  `INSERT INTO archive.events
   SELECT seq, '2025-01-01' + INTERVAL seq MINUTE, ELT(1 + seq % 3, 'login', 'view', 'buy'),
          CONCAT('{"session":"', SHA2(seq, 256), '","page":"/catalogue/', seq % 1000, '","agent":"Mozilla/5.0 (X11; Linux x86_64)"}')
   FROM seq_1_to_${count(rows.events)}`,
  `INSERT INTO archive.documents
   SELECT seq, CONCAT('Document ', seq, ' — ', MD5(seq)),
          REPEAT(CONCAT(${noise('seq')}, ${noise('seq + 1')}, REPEAT('lorem ipsum ', 20)), 32)
   FROM seq_1_to_${count(rows.documents)}`,
  `INSERT INTO archive.old_prices SELECT seq, seq % 9973 / 7, '2024-01-01' + INTERVAL seq % 365 DAY FROM seq_1_to_${count(rows.products)}`,
  `INSERT INTO archive.settings SELECT CONCAT('setting ', seq), MD5(seq) FROM seq_1_to_${count(2000)}`,
];

/** How many rows `count(rows)` makes at `scale`. */
const scaled =
  (scale: number) =>
  (all: number): number =>
    Math.max(10, Math.round(all * scale));

/**
 * Creates three schemas and fills them, by `INSERT … SELECT` from sequences, so that a few hundred MB take seconds. Tells
 * after each statement which part of the work is done.
 */
export const loadShop = async (
  connection: Connection,
  scale: number,
  onProgress: (fraction: number) => void = () => {},
): Promise<void> => {
  // As a bulk loader does: durable when it is done, not after each statement.
  await connection.query('SET SESSION sql_log_bin = 0, unique_checks = 0, foreign_key_checks = 0');
  const statements = [...schema, ...content(scaled(scale))];
  for (const [index, statement] of statements.entries()) {
    await connection.query(statement);
    onProgress((index + 1) / statements.length);
  }
  await connection.query('SET SESSION sql_log_bin = 1, unique_checks = 1, foreign_key_checks = 1');
};

/** How many of each a writer may choose from. */
export interface ShopSize {
  readonly customers: number;
  readonly products: number;
  readonly accounts: number;
}

/** Of the shop that `loadShop` makes at `scale`. */
export const shopSize = (scale: number): ShopSize => {
  const count = scaled(scale);
  return { customers: count(rows.customers), products: count(rows.products), accounts: rows.accounts };
};
