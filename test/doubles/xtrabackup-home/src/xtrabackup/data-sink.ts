import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { constants, zstdCompressSync } from 'node:zlib';
import { encryptChunk } from '../crypt-chunks.ts';
import { endOfFile, payloadHeader, STREAM_CHUNK } from '../stream-chunks.ts';
import { errcode, writeAll } from '../write-all.ts';
import { Exit, tell } from './console.ts';

/** A file on its way into the backup. Errors are told and thrown as `Exit`. */
export interface SinkFile {
  write(data: Buffer): void;
  close(): void;
}

export interface Sink {
  /** Throws `Exit` where the file cannot be made. */
  open(path: string): SinkFile;
}

/** Files below a directory. None may be there already. */
export const directorySink = (directory: string): Sink => ({
  open: (path) => {
    const whole = join(directory, path);
    let file: number;
    try {
      if (!existsSync(dirname(whole))) mkdirSync(dirname(whole), { mode: 0o750 });
      file = openSync(whole, 'wx', 0o640);
    } catch (error) {
      tell.tool(`Can't create/write to file '${whole}' ${errcode(error)}`);
      throw new Exit(1);
    }
    return {
      write: (data) => {
        try {
          writeAll(file, data);
        } catch (error) {
          tell.tool(`Error writing file '${whole}' ${errcode(error)}`);
          throw new Exit(1);
        }
      },
      close: () => closeSync(file),
    };
  },
});

/** An xbstream on standard output; small writes are gathered. */
export const streamSink = (): Sink => {
  const send = (bytes: Buffer): void => {
    try {
      writeAll(1, bytes);
    } catch (error) {
      tell.tool(`Error writing file 'UNOPENED' ${errcode(error)}`);
      tell.bare('xb_stream_write_data() failed.');
      throw new Exit(1);
    }
  };
  return {
    open: (path) => {
      let offset = 0;
      let parts: Buffer[] = [];
      let gathered = 0;
      const flush = (): void => {
        if (gathered === 0) return;
        const data = Buffer.concat(parts);
        for (let at = 0; at < data.length; at += STREAM_CHUNK) {
          const chunk = data.subarray(at, at + STREAM_CHUNK);
          send(payloadHeader(path, offset, chunk));
          send(chunk);
          offset += chunk.length;
        }
        parts = [];
        gathered = 0;
      };
      return {
        write: (data) => {
          parts.push(Buffer.from(data));
          gathered += data.length;
          if (gathered >= STREAM_CHUNK) flush();
        },
        close: () => {
          flush();
          send(endOfFile(path));
        },
      };
    },
  };
};

/** XBCRYPT before another sink. */
export const encryptingSink = (inner: Sink, key: Buffer, chunkBytes: number): Sink => ({
  open: (path) => {
    const name = `${path}.xbcrypt`;
    let file: SinkFile;
    try {
      file = inner.open(name);
    } catch (error) {
      if (error instanceof Exit) tell.bare(`encrypt: ds_open("${name}") failed.`);
      throw error;
    }
    let rest = Buffer.alloc(0);
    const put = (bytes: Buffer): void => {
      try {
        file.write(bytes);
      } catch (error) {
        tell.bare('encrypt: write to the destination file failed.');
        throw error;
      }
    };
    return {
      write: (data) => {
        rest = Buffer.concat([rest, data]);
        let at = 0;
        for (; rest.length - at >= chunkBytes; at += chunkBytes)
          put(encryptChunk(rest.subarray(at, at + chunkBytes), key));
        rest = rest.subarray(at);
      },
      close: () => {
        if (rest.length > 0) put(encryptChunk(rest, key));
        file.close();
      },
    };
  },
});

/** zstd before another sink. */
export const compressingSink = (inner: Sink, level: number): Sink => ({
  open: (path) => {
    const file = inner.open(`${path}.zst`);
    const parts: Buffer[] = [];
    return {
      write: (data) => {
        parts.push(Buffer.from(data));
      },
      close: () => {
        file.write(zstdCompressSync(Buffer.concat(parts), { params: { [constants.ZSTD_c_compressionLevel]: level } }));
        file.close();
      },
    };
  },
});

export const writeWhole = (sink: Sink, path: string, content: string | Buffer): void => {
  const file = sink.open(path);
  if (content.length > 0) file.write(Buffer.from(content as string));
  file.close();
};
