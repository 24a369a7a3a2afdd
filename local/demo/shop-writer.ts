import { setTimeout as sleep } from 'node:timers/promises';
import { type Connection, createConnection } from 'mysql2/promise';
import type { ShopSize } from './load-shop.ts';

/** Leaves the machine's cores to the server and the backup, as a busy shop would not: some 300 transactions a second. */
const pauseMs = 2;

/**
 * Keeps a shop busy: one short transaction after the other, each with its number in `billing.transfers`. The numbers have no
 * gap, so a restored server shows exactly up to which transaction it knows, and money shows whether any was torn.
 */
export class ShopWriter {
  readonly #socket: string;
  readonly #size: ShopSize;
  #connection: Connection | undefined;
  #running: Promise<void> | undefined;
  #stopping = false;
  #committed = 0;

  constructor(socket: string, size: ShopSize) {
    this.#socket = socket;
    this.#size = size;
  }

  /** The number of the last transaction that the server said it had committed. */
  get committed(): number {
    return this.#committed;
  }

  /** Goes on after the server's own last number. Writes until `stop`, or until the server is gone. */
  async start(): Promise<void> {
    this.#connection = await createConnection({ socketPath: this.#socket, user: 'root' });
    this.#connection.on('error', () => {});
    const [rows] = await this.#connection.query('SELECT COALESCE(MAX(id), 0) AS last FROM billing.transfers');
    this.#committed = Number((rows as { last: number }[])[0]?.last);
    this.#stopping = false;
    this.#running = this.#write(this.#connection);
    // Who stops it hears of an error; until then it is nobody's.
    this.#running.catch(() => {});
  }

  /** Resolves once nothing is written any more; rejects where a write failed for another reason than a server that went away. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
    this.#connection?.destroy();
    this.#connection = undefined;
  }

  async #write(connection: Connection): Promise<void> {
    try {
      while (!this.#stopping) {
        await this.#transaction(connection, this.#committed + 1);
        this.#committed += 1;
        await sleep(pauseMs);
      }
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }

  async #transaction(connection: Connection, number: number): Promise<void> {
    const { accounts, customers, products } = this.#size;
    // Spread over the tables without a random source: the same number always writes the same.
    const pick = (count: number, salt: number): number =>
      1 + ((Math.imul(number, 2_654_435_761 + salt * 2) >>> 0) % count);
    const payer = pick(accounts, 1);
    const payee = (payer % accounts) + 1;
    const amount = (number % 9_000) / 100;
    const customer = pick(customers, 2);
    const product = pick(products, 3);
    await connection.query('START TRANSACTION');
    await connection.query('UPDATE billing.accounts SET balance = balance - ? WHERE id = ?', [amount, payer]);
    await connection.query('UPDATE billing.accounts SET balance = balance + ? WHERE id = ?', [amount, payee]);
    await connection.query('INSERT INTO billing.transfers VALUES (?, ?, ?, ?, NOW(6))', [number, payer, payee, amount]);
    await connection.query(
      'INSERT INTO shop.orders (placed, customer, product, amount, note) VALUES (CURDATE(), ?, ?, ?, ?)',
      [customer, product, amount, `transfer ${number}`],
    );
    await connection.query('UPDATE shop.products SET in_stock = in_stock - 1 WHERE id = ?', [product]);
    await connection.query('UPDATE shop.customers SET last_seen = NOW(6) WHERE id = ?', [customer]);
    await connection.query('COMMIT');
  }
}

/** The server was stopped or killed: what this demo does to it on purpose. */
const isGone = (error: unknown): boolean =>
  error instanceof Error &&
  (('fatal' in error && error.fatal === true) ||
    ('code' in error && ['ER_SERVER_SHUTDOWN', 'ER_CONNECTION_KILLED'].includes(String(error.code))));
