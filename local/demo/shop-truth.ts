import type { Connection, RowDataPacket } from 'mysql2/promise';
import { openingBalance } from './load-shop.ts';

/** What is true of the shop at one moment, in a form that a restored server can be held against. */
export interface ShopTruth {
  /** Every table with its checksum; those the writer is busy with have none. */
  readonly tables: ReadonlyMap<string, string | undefined>;
  /** Labels of the canary rows, in order. */
  readonly canaries: readonly string[];
  /** The last transaction the server had committed. */
  readonly lastTransfer: number;
}

const busyTables = new Set([
  'billing.accounts',
  'billing.transfers',
  'shop.customers',
  'shop.demo_canary',
  'shop.orders',
  'shop.products',
]);

const rowsOf = async (
  connection: Connection,
  sql: string,
  values: readonly string[] = [],
): Promise<RowDataPacket[]> => {
  const [rows] = await connection.query<RowDataPacket[]>(sql, [...values]);
  return rows;
};

/** Writes the canary row `label`, which nobody ever deletes. */
export const writeCanary = async (connection: Connection, label: string): Promise<void> => {
  await connection.query(
    'CREATE TABLE IF NOT EXISTS shop.demo_canary (label VARCHAR(40) PRIMARY KEY, at DATETIME(6) NOT NULL)',
  );
  await connection.query('INSERT INTO shop.demo_canary VALUES (?, NOW(6))', [label]);
};

/** Looks at every table of the three schemas. */
export const observeShop = async (connection: Connection): Promise<ShopTruth> => {
  const names = await rowsOf(
    connection,
    `SELECT CONCAT(table_schema, '.', table_name) AS name FROM information_schema.tables
     WHERE table_schema IN ('shop', 'billing', 'archive') ORDER BY 1`,
  );
  const tables = new Map<string, string | undefined>();
  for (const { name } of names) {
    if (busyTables.has(name)) {
      tables.set(name, undefined);
      continue;
    }
    const [row] = await rowsOf(connection, `CHECKSUM TABLE ${name}`);
    tables.set(name, String(row?.Checksum));
  }
  const canaries = await rowsOf(connection, 'SELECT label FROM shop.demo_canary ORDER BY at');
  const [last] = await rowsOf(connection, 'SELECT COALESCE(MAX(id), 0) AS id FROM billing.transfers');
  return { tables, canaries: canaries.map(({ label }) => label), lastTransfer: Number(last?.id) };
};

export interface Comparison {
  /** What was looked at and found right, in words. */
  readonly held: readonly string[];
  /** What was found wrong, in words; empty where the restored server is what it has to be. */
  readonly wrong: readonly string[];
}

/**
 * Holds a restored server, which nobody has written to yet, against what was true just before its backup began. `lastTransferAtEnd`
 * is the last transaction committed when that backup had ended: the restored server's last one lies between the two.
 */
export const compareShop = async (
  connection: Connection,
  truth: ShopTruth,
  lastTransferAtEnd: number,
): Promise<Comparison> => {
  const held: string[] = [];
  const wrong: string[] = [];
  const found = await observeShop(connection);
  const expect = (holds: boolean, right: string, otherwise: string): void =>
    void (holds ? held.push(right) : wrong.push(otherwise));

  const names = (of: ShopTruth): string => [...of.tables.keys()].join(', ');
  expect(
    names(found) === names(truth),
    `the same ${found.tables.size} tables`,
    `tables are ${names(found)}; were ${names(truth)}`,
  );

  const resting = [...truth.tables].filter(([, checksum]) => checksum !== undefined);
  const changed = resting.filter(([name, checksum]) => found.tables.get(name) !== checksum);
  expect(
    changed.length === 0 && resting.length > 0,
    `${resting.length} tables at rest have the same checksums`,
    `other checksums: ${changed.map(([name, was]) => `${name} (was ${was}, is ${found.tables.get(name)})`).join(', ')}`,
  );

  const labels = (of: ShopTruth): string => of.canaries.join(', ');
  expect(
    labels(found) === labels(truth),
    `the canary rows up to “${truth.canaries.at(-1)}”, and none after`,
    `canary rows are ${labels(found)}; were ${labels(truth)}`,
  );

  const { lastTransfer } = found;
  expect(
    truth.lastTransfer <= lastTransfer && lastTransfer <= lastTransferAtEnd,
    `transactions up to ${lastTransfer} (${truth.lastTransfer} when the backup began, ${lastTransferAtEnd} when it had ended)`,
    `transactions go up to ${lastTransfer}; the backup began at ${truth.lastTransfer} and ended at ${lastTransferAtEnd}`,
  );

  const [sums] = await rowsOf(
    connection,
    `SELECT (SELECT COUNT(*) FROM billing.transfers) AS transfers,
            (SELECT COUNT(*) FROM shop.orders WHERE note LIKE 'transfer %') AS orders,
            (SELECT SUM(balance) - ${openingBalance} * COUNT(*) FROM billing.accounts) AS drift`,
  );
  expect(
    Number(sums?.transfers) === lastTransfer && Number(sums?.orders) === lastTransfer && Number(sums?.drift) === 0,
    'every transaction whole: no number missing, each with its order, the money adds up',
    `torn transactions: ${sums?.transfers} transfers and ${sums?.orders} orders for ${lastTransfer} transactions, ${sums?.drift} of money astray`,
  );

  const damaged: string[] = [];
  for (const name of found.tables.keys()) {
    const verdicts = await rowsOf(connection, `CHECK TABLE ${name}`);
    if (verdicts.at(-1)?.Msg_text !== 'OK') damaged.push(`${name}: ${verdicts.at(-1)?.Msg_text}`);
  }
  expect(damaged.length === 0, 'CHECK TABLE finds every table sound', `CHECK TABLE: ${damaged.join('; ')}`);
  return { held, wrong };
};
