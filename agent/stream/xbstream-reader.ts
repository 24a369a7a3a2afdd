import { crc32 } from 'node:zlib';
import { RedoubtError } from '#core/errors.ts';
import { crc32AppendZeros } from './crc32-combine.ts';

/**
 * What passes by in an xbstream, in its order. Files are interleaved, each file's own chunks come in order of offset.
 * `data` and `hole` are pieces of a chunk whose checksum is still to come: nothing may rely on them before its `chunk`.
 */
export type XbstreamEvent =
  /** `data` is a view into what was pushed: valid until the pusher reuses its buffer. */
  | { readonly kind: 'data'; readonly path: string; readonly offset: number; readonly data: Buffer }
  /** Bytes that read as zero and were not sent (sparse chunks of XtraBackup 8.x). */
  | { readonly kind: 'hole'; readonly path: string; readonly offset: number; readonly bytes: number }
  /** The chunk is complete and its checksum holds. `crc32` is of its content, holes as zeros. */
  | {
      readonly kind: 'chunk';
      readonly path: string;
      readonly offset: number;
      readonly bytes: number;
      readonly crc32: number;
    }
  | { readonly kind: 'end'; readonly path: string };

const MAGIC = Buffer.from('XBSTCK01', 'latin1');
const FIXED_HEADER = 14;
/** FN_REFLEN of the server sources: the engines refuse longer paths. */
const MAX_PATH = 512;
/** The engines send 10 MiB at most; far above that a length is garbage, not data. */
const MAX_CHUNK = 1024 * 1024 * 1024;
const MAX_SPARSE_ENTRIES = 1024 * 1024;

const PAYLOAD = 0x50; // 'P'
const SPARSE = 0x53; // 'S'
const END = 0x45; // 'E'

/** Why `path` must never be created below a directory, or `undefined` where it may. */
const pathFault = (path: string): string | undefined => {
  if (path === '') return 'an empty path';
  if (path.startsWith('/')) return 'an absolute path';
  if (path.split('/').includes('..')) return 'a path that leaves its directory';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  if (/[\u0000-\u001f]/.test(path)) return 'a path with control characters';
  return undefined;
};

type State =
  | { readonly at: 'fixed-header' }
  | { readonly at: 'path'; readonly type: number; readonly pathBytes: number }
  | { readonly at: 'chunk-header'; readonly type: number; readonly path: string }
  | { readonly at: 'sparse-map'; readonly chunk: Chunk; readonly entries: number }
  | { readonly at: 'data'; readonly chunk: Chunk };

interface Chunk {
  readonly path: string;
  readonly offset: number;
  readonly checksum: number;
  /** Bytes of data not seen yet. */
  left: number;
  /** Where the next byte goes in the file. */
  position: number;
  /** Over what the writer summed: the sparse map, then the data. */
  running: number;
  /** Over the content; the same number as `running` unless there are holes. */
  content: number;
  /** Holes and the runs of data after them; the first is being served. Absent for a payload chunk. */
  map?: { skip: number; bytes: number }[];
}

/**
 * Reads an xbstream as it passes, in pieces of any size, and keeps nothing of it but the header at hand.
 *
 * Format: magic `XBSTCK01` · flags · type · LE32 path length · path · for P and S: [S: LE32 entries] LE64 length · LE64 offset ·
 * LE32 CRC-32 · [S: entries of LE32 skip, LE32 length] · data. From Percona XtraBackup's xbstream sources and its
 * doc on the format; the CRC of a sparse chunk covers its map and its data. Unlike `xbstream -x`, which ends with 0 on a stream cut at a
 * chunk border, completeness is the inventory's business: a stream has no footer.
 *
 * Throws `StreamCorrupt` for garbage, a wrong checksum or a path that must not be created.
 */
export class XbstreamReader {
  #state: State = { at: 'fixed-header' };
  /** Bytes of a header that came in several pieces. */
  #held: Buffer = Buffer.alloc(0);
  #offset = 0;

  /** Bytes of the stream read so far. */
  get offset(): number {
    return this.#offset;
  }

  /** Everything that `piece` completes. Iterate to the end before pushing again. */
  *push(piece: Buffer): Generator<XbstreamEvent, void, undefined> {
    let rest = piece;
    for (;;) {
      if (this.#state.at === 'data') {
        const { chunk } = this.#state;
        rest = yield* this.#data(chunk, rest);
        if (chunk.left > 0) return;
        yield* this.#close(chunk);
        continue;
      }
      const need = this.#headerBytes();
      if (this.#held.length + rest.length < need) {
        if (rest.length > 0) this.#held = Buffer.concat([this.#held, rest]);
        return;
      }
      const fromRest = need - this.#held.length;
      const header =
        this.#held.length === 0 ? rest.subarray(0, need) : Buffer.concat([this.#held, rest.subarray(0, fromRest)]);
      this.#held = Buffer.alloc(0);
      rest = rest.subarray(fromRest);
      yield* this.#header(header);
      this.#offset += need;
    }
  }

  /** The stream has ended. Throws `StreamIncomplete` inside a chunk. */
  end(): void {
    if (this.#state.at === 'fixed-header' && this.#held.length === 0) return;
    throw new RedoubtError(
      'StreamIncomplete',
      `the stream ends inside a chunk, after ${this.#offset + this.#held.length} bytes`,
    );
  }

  #headerBytes(): number {
    const state = this.#state;
    switch (state.at) {
      case 'fixed-header':
        return FIXED_HEADER;
      case 'path':
        return state.pathBytes;
      case 'chunk-header':
        return state.type === SPARSE ? 24 : 20;
      case 'sparse-map':
        return state.entries * 8;
      case 'data':
        return 0;
    }
  }

  *#header(header: Buffer): Generator<XbstreamEvent, void, undefined> {
    const state = this.#state;
    switch (state.at) {
      case 'fixed-header': {
        if (!header.subarray(0, 8).equals(MAGIC)) throw this.#corrupt('no chunk starts');
        const type = header[9] as number;
        if (type !== PAYLOAD && type !== SPARSE && type !== END)
          throw this.#corrupt(`a chunk of unknown type 0x${type.toString(16)} starts`);
        const pathBytes = header.readUInt32LE(10);
        if (pathBytes === 0 || pathBytes > MAX_PATH) throw this.#corrupt(`a path of ${pathBytes} bytes starts`);
        this.#state = { at: 'path', type, pathBytes };
        return;
      }
      case 'path': {
        const path = header.toString('utf8');
        const fault = Buffer.from(path, 'utf8').equals(header) ? pathFault(path) : 'a path that is not UTF-8';
        if (fault !== undefined) throw this.#corrupt(`${fault} stands (${JSON.stringify(path)})`);
        if (state.type === END) {
          this.#state = { at: 'fixed-header' };
          yield { kind: 'end', path };
          return;
        }
        this.#state = { at: 'chunk-header', type: state.type, path };
        return;
      }
      case 'chunk-header': {
        const sparse = state.type === SPARSE;
        const entries = sparse ? header.readUInt32LE(0) : 0;
        const base = sparse ? 4 : 0;
        const length = header.readBigUInt64LE(base);
        const offset = header.readBigUInt64LE(base + 8);
        if (length > BigInt(MAX_CHUNK)) throw this.#corrupt(`a chunk of ${length} bytes starts`);
        if (offset > BigInt(Number.MAX_SAFE_INTEGER)) throw this.#corrupt(`a chunk for offset ${offset} starts`);
        if (entries > MAX_SPARSE_ENTRIES) throw this.#corrupt(`a sparse map of ${entries} entries starts`);
        const chunk: Chunk = {
          path: state.path,
          offset: Number(offset),
          checksum: header.readUInt32LE(base + 16),
          left: Number(length),
          position: Number(offset),
          running: 0,
          content: 0,
        };
        if (entries > 0) {
          this.#state = { at: 'sparse-map', chunk, entries };
          return;
        }
        this.#state = { at: 'data', chunk };
        return;
      }
      case 'sparse-map': {
        const { chunk } = state;
        const map: { skip: number; bytes: number }[] = [];
        let mapped = 0;
        for (let at = 0; at < header.length; at += 8) {
          const entry = { skip: header.readUInt32LE(at), bytes: header.readUInt32LE(at + 4) };
          mapped += entry.bytes;
          map.push(entry);
        }
        if (mapped !== chunk.left)
          throw this.#corrupt(`a sparse map of ${mapped} bytes for ${chunk.left} bytes of data stands`);
        chunk.running = crc32(header, 0);
        chunk.map = map;
        this.#state = { at: 'data', chunk };
        return;
      }
      case 'data':
        return;
    }
  }

  *#data(chunk: Chunk, piece: Buffer): Generator<XbstreamEvent, Buffer, undefined> {
    const mine = piece.subarray(0, Math.min(piece.length, chunk.left));
    chunk.running = crc32(mine, chunk.running);
    if (chunk.map === undefined) {
      chunk.content = chunk.running;
      if (mine.length > 0) yield { kind: 'data', path: chunk.path, offset: chunk.position, data: mine };
      chunk.position += mine.length;
    } else {
      let rest = mine;
      for (let run = chunk.map[0]; run !== undefined; run = chunk.map[0]) {
        yield* this.#skip(chunk, run);
        const data = rest.subarray(0, run.bytes);
        if (data.length > 0) {
          chunk.content = crc32(data, chunk.content);
          yield { kind: 'data', path: chunk.path, offset: chunk.position, data };
          chunk.position += data.length;
          run.bytes -= data.length;
          rest = rest.subarray(data.length);
        }
        if (run.bytes > 0) break;
        chunk.map.shift();
      }
    }
    chunk.left -= mine.length;
    this.#offset += mine.length;
    return piece.subarray(mine.length);
  }

  *#skip(chunk: Chunk, run: { skip: number }): Generator<XbstreamEvent, void, undefined> {
    if (run.skip === 0) return;
    yield { kind: 'hole', path: chunk.path, offset: chunk.position, bytes: run.skip };
    chunk.content = crc32AppendZeros(chunk.content, run.skip);
    chunk.position += run.skip;
    run.skip = 0;
  }

  *#close(chunk: Chunk): Generator<XbstreamEvent, void, undefined> {
    if (chunk.running !== chunk.checksum) {
      throw this.#corrupt(`the checksum of a chunk of ${chunk.path} (at ${chunk.offset} in the file) does not hold`);
    }
    this.#state = { at: 'fixed-header' };
    yield {
      kind: 'chunk',
      path: chunk.path,
      offset: chunk.offset,
      bytes: chunk.position - chunk.offset,
      crc32: chunk.content,
    };
  }

  #corrupt(what: string): RedoubtError {
    return new RedoubtError('StreamCorrupt', `${what} at byte ${this.#offset} of the stream`);
  }
}
