import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';

// Framing of MySQL's client/server protocol, as much as both ends here need.

/** Splits a socket's bytes into packets. */
export class PacketStream {
  readonly #socket: Socket;
  #buffered = Buffer.alloc(0);
  readonly #packets: Buffer[] = [];
  readonly #waiting: ((packet: Buffer | undefined) => void)[] = [];
  #ended = false;
  /** Of the next packet sent. */
  sequence = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (data: Buffer) => this.#take(data));
    socket.on('error', () => this.#end());
    socket.on('close', () => this.#end());
    socket.on('end', () => this.#end());
  }

  /** `undefined` once the other end is gone. */
  next(): Promise<Buffer | undefined> {
    const packet = this.#packets.shift();
    if (packet) return Promise.resolve(packet);
    if (this.#ended) return Promise.resolve(undefined);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  send(payload: Buffer): void {
    const header = Buffer.alloc(4);
    header.writeUIntLE(payload.length, 0, 3);
    header[3] = this.sequence++ & 0xff;
    if (!this.#ended) this.#socket.write(Buffer.concat([header, payload]));
  }

  get ended(): boolean {
    return this.#ended;
  }

  #take(data: Buffer): void {
    this.#buffered = this.#buffered.length === 0 ? Buffer.from(data) : Buffer.concat([this.#buffered, data]);
    let at = 0;
    while (this.#buffered.length - at >= 4) {
      const length = this.#buffered.readUIntLE(at, 3);
      if (this.#buffered.length - at < 4 + length) break;
      this.sequence = (this.#buffered[at + 3] as number) + 1;
      const packet = this.#buffered.subarray(at + 4, at + 4 + length);
      at += 4 + length;
      const waiting = this.#waiting.shift();
      if (waiting) waiting(packet);
      else this.#packets.push(packet);
    }
    this.#buffered = this.#buffered.subarray(at);
  }

  #end(): void {
    this.#ended = true;
    for (const waiting of this.#waiting.splice(0)) waiting(undefined);
  }
}

export const lengthEncoded = (value: number): Buffer => {
  if (value < 251) return Buffer.from([value]);
  const bytes = Buffer.alloc(9);
  bytes[0] = value < 65_536 ? 0xfc : value < 16_777_216 ? 0xfd : 0xfe;
  bytes.writeUIntLE(value, 1, 6);
  return bytes.subarray(0, value < 65_536 ? 3 : value < 16_777_216 ? 4 : 9);
};

export const lengthEncodedText = (value: string | Buffer): Buffer => {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([lengthEncoded(bytes.length), bytes]);
};

/** Reads a length and moves on; `null` is SQL's NULL. */
export const readLength = (packet: Buffer, at: number): { readonly value: number | null; readonly next: number } => {
  const first = packet[at] as number;
  if (first < 251) return { value: first, next: at + 1 };
  if (first === 251) return { value: null, next: at + 1 };
  const bytes = first === 0xfc ? 2 : first === 0xfd ? 3 : 6;
  return { value: packet.readUIntLE(at + 1, bytes), next: at + 1 + (first === 0xfe ? 8 : bytes) };
};

const sha1 = (...parts: readonly Buffer[]): Buffer => {
  const hash = createHash('sha1');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

const xor = (one: Buffer, other: Buffer): Buffer =>
  Buffer.from(one.map((byte, index) => byte ^ (other[index] as number)));

/** What a client of mysql_native_password answers to a scramble. */
export const scrambled = (password: string, scramble: Buffer): Buffer => {
  if (password === '') return Buffer.alloc(0);
  const once = sha1(Buffer.from(password));
  return xor(once, sha1(scramble, sha1(once)));
};

/** What the server keeps of a password: empty for none. */
export const passwordHash = (password: string): string =>
  password === ''
    ? ''
    : `*${sha1(sha1(Buffer.from(password)))
        .toString('hex')
        .toUpperCase()}`;

export const answersPassword = (answer: Buffer, hash: string, scramble: Buffer): boolean => {
  if (hash === '' || answer.length === 0) return hash === '' && answer.length === 0;
  const twice = Buffer.from(hash.slice(1), 'hex');
  return sha1(xor(answer, sha1(scramble, twice))).equals(twice);
};
