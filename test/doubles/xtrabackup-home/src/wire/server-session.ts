import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { answersPassword, lengthEncoded, lengthEncodedText, PacketStream } from './packets.ts';

export type Value = string | number | bigint | null;

export interface Column {
  readonly name: string;
  readonly numeric: boolean;
}

export type Result =
  | { readonly kind: 'rows'; readonly columns: readonly Column[]; readonly rows: readonly (readonly Value[])[] }
  | { readonly kind: 'done'; readonly affected: number; readonly insertId: number };

/** An error as the server words it. */
export class SqlError extends Error {
  readonly number: number;
  readonly state: string;

  constructor(number: number, state: string, message: string) {
    super(message);
    this.number = number;
    this.state = state;
  }
}

export interface Login {
  readonly user: string;
  readonly withPassword: boolean;
  /** Whether this is the password of a stored hash. */
  knows(hash: string): boolean;
}

export interface SessionHandler {
  readonly version: string;
  /** Throws `SqlError` to refuse. */
  login(login: Login, id: number): void;
  useDatabase(name: string): void;
  query(sql: string): Promise<Result>;
  shutdown(): void;
  closed(): void;
}

const CAPABILITIES = 0x0000_0001 | 0x0000_0008 | 0x0000_0200 | 0x0000_2000 | 0x0000_8000 | 0x0008_0000 | 0x0000_0002;
const UTF8MB4 = 45;
const TEXT = 0xfd;
const LONGLONG = 8;

const AUTOCOMMIT = Buffer.from([2, 0]);
const NO_WARNINGS = Buffer.from([0, 0]);

const ok = (affected = 0, insertId = 0): Buffer =>
  Buffer.concat([Buffer.from([0]), lengthEncoded(affected), lengthEncoded(insertId), AUTOCOMMIT, NO_WARNINGS]);

const eof = (): Buffer => Buffer.concat([Buffer.from([0xfe]), NO_WARNINGS, AUTOCOMMIT]);

const failure = (error: unknown): Buffer => {
  const { number, state, message } =
    error instanceof SqlError ? error : new SqlError(1105, 'HY000', `Unknown error: ${(error as Error).stack}`);
  const code = Buffer.alloc(3);
  code[0] = 0xff;
  code.writeUInt16LE(number, 1);
  return Buffer.concat([code, Buffer.from(`#${state}${message}`)]);
};

const columnDefinition = ({ name, numeric }: Column): Buffer => {
  const fixed = Buffer.alloc(13);
  fixed[0] = 0x0c;
  fixed.writeUInt16LE(numeric ? 63 : UTF8MB4, 1);
  fixed.writeUInt32LE(numeric ? 21 : 1024, 3);
  fixed[7] = numeric ? LONGLONG : TEXT;
  return Buffer.concat([...['def', '', '', '', name, name].map(lengthEncodedText), fixed]);
};

const handshake = (version: string, id: number, scramble: Buffer): Buffer => {
  const fixed = Buffer.alloc(4);
  fixed.writeUInt32LE(id);
  const middle = Buffer.alloc(18);
  middle.writeUInt16LE(CAPABILITIES & 0xffff, 0);
  middle[2] = UTF8MB4;
  AUTOCOMMIT.copy(middle, 3);
  middle.writeUInt16LE(CAPABILITIES >>> 16, 5);
  middle[7] = 21;
  return Buffer.concat([
    Buffer.from([10]),
    Buffer.from(`${version}\0`),
    fixed,
    scramble.subarray(0, 8),
    Buffer.from([0]),
    middle,
    scramble.subarray(8),
    Buffer.from('\0mysql_native_password\0'),
  ]);
};

interface Greeting {
  readonly user: string;
  readonly answer: Buffer;
  readonly database: string;
}

const parseGreeting = (packet: Buffer): Greeting => {
  const flags = packet.readUInt32LE(0);
  let at = 32;
  const text = (): string => {
    const end = packet.indexOf(0, at);
    const value = packet.toString('utf8', at, end);
    at = end + 1;
    return value;
  };
  const user = text();
  const length = packet[at] as number;
  const answer = packet.subarray(at + 1, at + 1 + length);
  at += 1 + length;
  return { user, answer, database: flags & 8 && at < packet.length ? text() : '' };
};

/** Serves one connection until either end closes it. */
export const serveSession = async (socket: Socket, id: number, handler: SessionHandler): Promise<void> => {
  const packets = new PacketStream(socket);
  const scramble = Buffer.from(randomBytes(20).map((byte) => (byte % 94) + 33));
  packets.send(handshake(handler.version, id, scramble));
  try {
    const first = await packets.next();
    if (!first) return;
    const { user, answer, database } = parseGreeting(first);
    handler.login(
      { user, withPassword: answer.length > 0, knows: (hash) => answersPassword(answer, hash, scramble) },
      id,
    );
    if (database !== '') handler.useDatabase(database);
    packets.send(ok());
    for (;;) {
      const packet = await packets.next();
      if (!packet || packet[0] === 1) return;
      packets.sequence = 1;
      const body = packet.subarray(1);
      try {
        if (packet[0] === 2) {
          handler.useDatabase(body.toString());
          packets.send(ok());
        } else if (packet[0] === 3) {
          const result = await handler.query(body.toString());
          if (result.kind === 'done') packets.send(ok(result.affected, result.insertId));
          else {
            packets.send(lengthEncoded(result.columns.length));
            for (const column of result.columns) packets.send(columnDefinition(column));
            packets.send(eof());
            for (const row of result.rows)
              packets.send(
                Buffer.concat(
                  row.map((value) => (value === null ? Buffer.from([251]) : lengthEncodedText(String(value)))),
                ),
              );
            packets.send(eof());
          }
        } else if (packet[0] === 8) {
          packets.send(eof());
          handler.shutdown();
          return;
        } else if (packet[0] === 14) packets.send(ok());
        else throw new SqlError(1047, '08S01', 'Unknown command');
      } catch (error) {
        packets.send(failure(error));
      }
    }
  } catch (error) {
    packets.send(failure(error));
  } finally {
    socket.end();
    handler.closed();
  }
};
