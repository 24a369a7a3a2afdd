import { connect, type Socket } from 'node:net';
import { PacketStream, readLength, scrambled } from './packets.ts';

export interface ClientRow {
  readonly [column: string]: string | null;
}

/** An answer of the server that is an error, or no answer at all. */
export class ClientError extends Error {
  readonly number: number;
  readonly state: string;

  constructor(number: number, state: string, message: string) {
    super(message);
    this.number = number;
    this.state = state;
  }
}

export interface ClientOptions {
  readonly socket?: string;
  readonly host?: string;
  readonly port?: number;
  readonly user: string;
  readonly password: string;
}

const CAPABILITIES = 0x0000_0001 | 0x0000_0200 | 0x0000_2000 | 0x0000_8000 | 0x0008_0000;
const ERRNOS: Readonly<Record<string, number>> = { ENOENT: 2, ECONNREFUSED: 111, EACCES: 13, ECONNRESET: 104 };

const open = (options: ClientOptions): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket =
      options.socket === undefined
        ? connect(options.port ?? 3306, options.host ?? '127.0.0.1')
        : connect(options.socket);
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error: NodeJS.ErrnoException) => {
      const errno = ERRNOS[error.code ?? ''] ?? 111;
      reject(
        options.socket === undefined
          ? new ClientError(2003, 'HY000', `Can't connect to MySQL server on '${options.host}' (${errno})`)
          : new ClientError(
              2002,
              'HY000',
              `Can't connect to local MySQL server through socket '${options.socket}' (${errno})`,
            ),
      );
    });
  });

/** A connection of one of the programs here to a server. */
export class Client {
  readonly #socket: Socket;
  readonly #packets: PacketStream;
  readonly serverVersion: string;

  private constructor(socket: Socket, packets: PacketStream, serverVersion: string) {
    this.#socket = socket;
    this.#packets = packets;
    this.serverVersion = serverVersion;
  }

  static async connect(options: ClientOptions): Promise<Client> {
    const socket = await open(options);
    const packets = new PacketStream(socket);
    const greeting = await packets.next();
    if (!greeting) throw new ClientError(2013, 'HY000', 'Lost connection to MySQL server');
    const end = greeting.indexOf(0, 1);
    const scramble = Buffer.concat([greeting.subarray(end + 5, end + 13), greeting.subarray(end + 32, end + 44)]);
    const fixed = Buffer.alloc(32);
    fixed.writeUInt32LE(CAPABILITIES);
    fixed.writeUInt32LE(2 ** 24, 4);
    fixed[8] = 45;
    const answer = scrambled(options.password, scramble);
    packets.send(
      Buffer.concat([
        fixed,
        Buffer.from(`${options.user}\0`),
        Buffer.from([answer.length]),
        answer,
        Buffer.from('mysql_native_password\0'),
      ]),
    );
    const reply = await packets.next();
    if (!reply) throw new ClientError(2013, 'HY000', 'Lost connection to MySQL server');
    if (reply[0] === 0xff) throw errorOf(reply);
    return new Client(socket, packets, greeting.toString('latin1', 1, end));
  }

  /** Rows and the names of their columns; neither for what returns none. */
  async query(sql: string): Promise<{ readonly columns: readonly string[]; readonly rows: readonly ClientRow[] }> {
    this.#command(3, sql);
    const first = await this.#reply();
    if (first[0] === 0) return { columns: [], rows: [] };
    const count = readLength(first, 0).value ?? 0;
    const columns: string[] = [];
    for (let index = 0; index < count; index++) columns.push(columnName(await this.#reply()));
    await this.#reply();
    const rows: ClientRow[] = [];
    for (;;) {
      const packet = await this.#reply();
      if (packet[0] === 0xfe && packet.length < 9) return { columns, rows };
      const row: Record<string, string | null> = {};
      let at = 0;
      for (const column of columns) {
        const { value, next } = readLength(packet, at);
        row[column] = value === null ? null : packet.toString('utf8', next, next + value);
        at = next + (value ?? 0);
      }
      rows.push(row);
    }
  }

  async shutdown(): Promise<void> {
    this.#command(8, '');
    await this.#packets.next();
  }

  close(): void {
    if (!this.#packets.ended) this.#command(1, '');
    this.#socket.end();
    this.#socket.destroySoon();
  }

  #command(code: number, body: string): void {
    if (this.#packets.ended) throw new ClientError(2006, 'HY000', 'MySQL server has gone away');
    this.#packets.sequence = 0;
    this.#packets.send(Buffer.concat([Buffer.from([code]), Buffer.from(body)]));
  }

  async #reply(): Promise<Buffer> {
    const packet = await this.#packets.next();
    if (!packet) throw new ClientError(2013, 'HY000', 'Lost connection to MySQL server during query');
    if (packet[0] === 0xff) throw errorOf(packet);
    return packet;
  }
}

const errorOf = (packet: Buffer): ClientError => {
  const hasState = packet[3] === 0x23;
  return new ClientError(
    packet.readUInt16LE(1),
    hasState ? packet.toString('latin1', 4, 9) : 'HY000',
    packet.toString('utf8', hasState ? 9 : 3),
  );
};

const columnName = (packet: Buffer): string => {
  let at = 0;
  let text = '';
  for (let field = 0; field < 5; field++) {
    const { value, next } = readLength(packet, at);
    text = packet.toString('utf8', next, next + (value ?? 0));
    at = next + (value ?? 0);
  }
  return text;
};
