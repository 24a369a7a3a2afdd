// Redo records, encoded as 5.7 does where XtraBackup shows them (recorded hex dump in 86).

export type RedoRecord =
  /** Bytes of a page. */
  | {
      readonly kind: 'write';
      readonly space: number;
      readonly page: number;
      readonly offset: number;
      readonly data: Buffer;
    }
  | { readonly kind: 'create'; readonly space: number; readonly flags: number; readonly name: string }
  | { readonly kind: 'delete'; readonly space: number; readonly name: string }
  | { readonly kind: 'rename'; readonly space: number; readonly from: string; readonly to: string }
  /** An index was built without redo. */
  | { readonly kind: 'index-load'; readonly space: number }
  /** A checkpoint at this LSN was made. */
  | { readonly kind: 'checkpoint'; readonly lsn: number };

const TYPES = { write: 30, delete: 35, create: 47, rename: 48, checkpoint: 56, 'index-load': 61 } as const;
const GROUP_END = 31;
/** The record is a group by itself. */
const SINGLE = 0x80;

const compressed = (value: number): Buffer => {
  if (value < 0x80) return Buffer.from([value]);
  const bytes = Buffer.alloc(4);
  if (value < 0x4000) bytes.writeUInt16BE(value | 0x8000, 0);
  else if (value < 0x20_0000) bytes.writeUIntBE(value | 0xc0_0000, 0, 3);
  else if (value < 0x1000_0000) bytes.writeUInt32BE((value | 0xe000_0000) >>> 0, 0);
  else throw new RangeError(`no space or page has the number ${value}`);
  return bytes.subarray(0, value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4);
};

const text = (value: string): Buffer => {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
};

const payload = (record: RedoRecord): readonly Buffer[] => {
  switch (record.kind) {
    case 'write': {
      const place = Buffer.alloc(4);
      place.writeUInt16BE(record.offset, 0);
      place.writeUInt16BE(record.data.length, 2);
      return [compressed(record.space), compressed(record.page), place, record.data];
    }
    case 'create':
      return [compressed(record.space), compressed(record.flags), text(record.name)];
    case 'delete':
      return [compressed(record.space), compressed(0), text(record.name)];
    case 'rename':
      return [compressed(record.space), compressed(0), text(record.from), text(record.to)];
    case 'index-load':
      return [compressed(record.space), compressed(0)];
    case 'checkpoint': {
      const lsn = Buffer.alloc(8);
      lsn.writeBigUInt64BE(BigInt(record.lsn));
      return [lsn];
    }
  }
};

/** The bytes of one mini-transaction: all of it is applied, or nothing. A checkpoint stands alone. */
export const encodeGroup = (records: readonly RedoRecord[]): Buffer => {
  const single = records.length === 1;
  const parts = records.flatMap((record) => [
    Buffer.from([single && record.kind !== 'checkpoint' ? TYPES[record.kind] | SINGLE : TYPES[record.kind]]),
    ...payload(record),
  ]);
  return Buffer.concat(single ? parts : [...parts, Buffer.from([GROUP_END])]);
};

class Reader {
  readonly #bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  take(length: number): Buffer {
    if (this.at + length > this.#bytes.length) throw new RangeError('the redo ends here');
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }

  byte(): number {
    return this.take(1)[0] as number;
  }

  compressed(): number {
    const first = this.byte();
    if (first < 0x80) return first;
    if (first < 0xc0) return ((first & 0x3f) << 8) | this.byte();
    if (first < 0xe0) return ((first & 0x1f) << 16) | this.take(2).readUInt16BE();
    return ((first & 0x0f) << 24) | this.take(3).readUIntBE(0, 3);
  }

  text(): string {
    return this.take(this.take(2).readUInt16BE()).toString();
  }
}

const decode = (type: number, reader: Reader): RedoRecord => {
  if (type === TYPES.checkpoint) return { kind: 'checkpoint', lsn: Number(reader.take(8).readBigUInt64BE()) };
  const space = reader.compressed();
  const second = reader.compressed();
  switch (type) {
    case TYPES.write: {
      const offset = reader.take(2).readUInt16BE();
      const length = reader.take(2).readUInt16BE();
      return { kind: 'write', space, page: second, offset, data: Buffer.from(reader.take(length)) };
    }
    case TYPES.create:
      return { kind: 'create', space, flags: second, name: reader.text() };
    case TYPES.delete:
      return { kind: 'delete', space, name: reader.text() };
    case TYPES.rename:
      return { kind: 'rename', space, from: reader.text(), to: reader.text() };
    case TYPES['index-load']:
      return { kind: 'index-load', space };
    default:
      throw new TypeError(`there is no redo record of type ${type}`);
  }
};

/** The group at `from`, and where it ends; `undefined` where the bytes end before it does. Throws `TypeError` for what is no record. */
export const decodeGroup = (
  bytes: Buffer,
  from: number,
): { readonly records: readonly RedoRecord[]; readonly end: number } | undefined => {
  const reader = new Reader(bytes, from);
  const records: RedoRecord[] = [];
  try {
    for (;;) {
      const type = reader.byte();
      if (type === GROUP_END) return { records, end: reader.at };
      records.push(decode(type & ~SINGLE, reader));
      if (type & SINGLE || (type === TYPES.checkpoint && records.length === 1)) return { records, end: reader.at };
    }
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
};
