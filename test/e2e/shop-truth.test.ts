import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Connection, createConnection } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { loadShop } from '#local/demo/load-shop.ts';
import { compareShop, observeShop, type ShopTruth, writeCanary } from '#local/demo/shop-truth.ts';
import { ShopWriter } from '#local/demo/shop-writer.ts';
import { type Mariadb, startMariadb } from '#local/mariadb/start-mariadb.ts';

// What the demo calls "the same as it was" is only worth something if it notices when it is not.

let directory: string;
let server: Mariadb;
let connection: Connection;
let truth: ShopTruth;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'redoubt-truth-'));
  server = await startMariadb({ directory });
});

beforeEach(async () => {
  connection = await createConnection({ socketPath: server.socket, user: 'root' });
  await loadShop(connection, 0.001);
  const writer = new ShopWriter(server.socket, { customers: 150, products: 20, accounts: 10_000 });
  await writer.start();
  await writeCanary(connection, 'before backup 0');
  while (writer.committed < 20) await new Promise((resolve) => setTimeout(resolve, 5));
  await writer.stop();
  truth = await observeShop(connection);
});

afterEach(async () => {
  for (const schema of ['shop', 'billing', 'archive']) await connection.query(`DROP DATABASE ${schema}`);
  await connection.end();
});

afterAll(async () => {
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
});

const wrong = async (): Promise<readonly string[]> => (await compareShop(connection, truth, truth.lastTransfer)).wrong;

it('finds nothing wrong with a server that is as it was', async () => {
  expect(await wrong()).toEqual([]);
});

it.each([
  [
    'a byte of a table at rest',
    'UPDATE archive.documents SET body = CONCAT(body, 0x00) WHERE id = 1',
    /^other checksums: archive\.documents/,
  ],
  ['a row of a table at rest', 'DELETE FROM billing.invoices LIMIT 1', /^other checksums: billing\.invoices/],
  [
    'a row of a table that is not InnoDB',
    'DELETE FROM archive.settings LIMIT 1',
    /^other checksums: archive\.settings/,
  ],
  ['a whole table', 'DROP TABLE archive.events', /^tables are /],
  ['a table too many', 'CREATE TABLE shop.later (id INT)', /^tables are /],
  ['a canary row', 'DELETE FROM shop.demo_canary', /^canary rows are /],
  ['the last transaction', 'DELETE FROM billing.transfers ORDER BY id DESC LIMIT 1', /^transactions go up to/],
  ['a transaction in the middle', 'DELETE FROM billing.transfers WHERE id = 7', /^torn transactions/],
  ['half a transaction', "DELETE FROM shop.orders WHERE note = 'transfer 7'", /^torn transactions/],
  ['money', 'UPDATE billing.accounts SET balance = balance + 0.01 LIMIT 1', /of money astray$/],
])('notices %s', async (_what, damage, fault) => {
  await connection.query(damage);
  expect(await wrong()).toContainEqual(expect.stringMatching(fault));
});

it('notices transactions from after the backup', async () => {
  expect((await compareShop(connection, truth, truth.lastTransfer - 1)).wrong).toEqual([
    expect.stringMatching(/^transactions go up to/),
  ]);
});
