import { closeSync, mkdirSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { decryptChunks, isKeyLength, readKeyFile } from './crypt-chunks.ts';
import { parseArgument } from './option-file.ts';
import { endOfFile, payloadHeader, readChunks, STREAM_CHUNK, StreamFault } from './stream-chunks.ts';
import { toolVersion } from './tool-version.ts';
import { errcode, pause, writeAll } from './write-all.ts';

const version = toolVersion();

const SHORT: Readonly<Record<string, string>> = {
  c: 'create',
  x: 'extract',
  C: 'directory',
  v: 'verbose',
  ...(version.modern
    ? { P: 'absolute-names' }
    : { p: 'parallel', d: 'decrypt', k: 'encrypt-key', f: 'encrypt-key-file' }),
};
const SWITCHES = new Set(['create', 'extract', 'verbose', 'absolute-names', 'decompress']);
const KNOWN = new Set([
  ...Object.values(SHORT),
  'parallel',
  'decrypt',
  'encrypt-key',
  'encrypt-key-file',
  'encrypt-threads',
  ...(version.modern ? ['decompress', 'decompress-threads', 'fifo-streams', 'fifo-dir', 'fifo-timeout'] : []),
]);

const say = (text: string): void => writeAll(2, Buffer.from(`${text}\n`));

const options = new Map<string, string>();
const files: string[] = [];
const args = process.argv.slice(2);
for (let at = 0; at < args.length; at++) {
  const argument = args[at] as string;
  const long = parseArgument(argument);
  if (long) {
    if (!KNOWN.has(long.name)) {
      say(`xbstream: [ERROR] unknown option '${argument}'`);
      process.exit(1);
    }
    options.set(long.name, long.value ?? (SWITCHES.has(long.name) ? '' : (args[++at] ?? '')));
  } else if (/^-./.test(argument)) {
    for (let letter = 1; letter < argument.length; letter++) {
      const name = SHORT[argument[letter] as string];
      if (name === undefined) {
        say(`xbstream: [ERROR] unknown option '-${argument[letter]}'`);
        process.exit(1);
      }
      if (SWITCHES.has(name)) options.set(name, '');
      else {
        options.set(name, argument.slice(letter + 1) || (args[++at] ?? ''));
        break;
      }
    }
  } else files.push(argument);
}

const directory = options.get('directory');
if (directory !== undefined) {
  try {
    process.chdir(directory);
  } catch (error) {
    say(`xbstream: Can't change dir to '${directory}' ${errcode(error)}`);
    process.exit(1);
  }
}

const readInput = (length: number): Buffer => {
  const bytes = Buffer.alloc(length);
  let got = 0;
  while (got < length) {
    try {
      const more = readSync(0, bytes, got, length - got, null);
      if (more === 0) break;
      got += more;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EOF') break;
      if (code !== 'EAGAIN') throw error;
      pause(1);
    }
  }
  return bytes.subarray(0, got);
};

const decryptionKey = (): Buffer | undefined => {
  if (!options.has('decrypt')) return undefined;
  say('encryption: using gcrypt 1.10.1');
  const file = options.get('encrypt-key-file');
  const key = file === undefined ? Buffer.from(options.get('encrypt-key') ?? '', 'latin1') : readKeyFile(file);
  // 2.4.7 dies of a key file it cannot read.
  if (typeof key === 'number') process.kill(process.pid, 'SIGSEGV');
  if (!Buffer.isBuffer(key) || !isKeyLength(key)) {
    say('encryption: unable to set libgcrypt cipher key - User defined source 1 : Invalid key length');
    say('decrypt: failed to create worker threads.');
    process.exit(1);
  }
  return key;
};

/** A file that is being extracted. What is decrypted or decompressed is kept until its end. */
interface Target {
  readonly write: (data: Buffer) => void;
  readonly end: () => void;
}

const writeFile = (file: number, path: string, data: Buffer): void => {
  try {
    writeAll(file, data);
  } catch (error) {
    say(`xbstream: Error writing file './${path}' ${errcode(error)}`);
    say('xbstream: my_write() failed.');
    process.exit(1);
  }
};

const openTarget = (path: string, key: Buffer | undefined): Target => {
  const decrypts = key !== undefined && path.endsWith('.xbcrypt');
  const plain = decrypts ? path.slice(0, -'.xbcrypt'.length) : path;
  const decompresses = options.has('decompress') && plain.endsWith('.zst');
  const name = decompresses ? plain.slice(0, -'.zst'.length) : plain;
  if (dirname(name) !== '.') mkdirSync(dirname(name), { recursive: true });
  let file: number;
  try {
    file = openSync(name, 'wx', 0o640);
  } catch (error) {
    say(`xbstream: Can't create/write to file './${name}' ${errcode(error)}`);
    say('xbstream: failed to create file.');
    // Before 2.4.12 that ends it, and is no failure.
    process.exit(version.atLeast('2.4.12') ? 1 : 0);
  }
  if (!decrypts && !decompresses) return { write: (data) => writeFile(file, name, data), end: () => closeSync(file) };
  const parts: Buffer[] = [];
  return {
    write: (data) => {
      parts.push(Buffer.from(data));
    },
    end: () => {
      let content = Buffer.concat(parts);
      if (decrypts) {
        const decrypted: Buffer[] = [];
        const end = decryptChunks(content, key, (chunk) => decrypted.push(chunk));
        if (end.kind !== 'end') {
          say(
            `xbstream:${end.kind === 'wrong-key' ? 'xb_crypt_decrypt invalid plaintext hash. Wrong encrytion key specified?' : end.message}`,
          );
          say('decrypt: failed to decrypt chunk.');
          say('xbstream: my_write() failed.');
          process.exit(1);
        }
        content = Buffer.concat(decrypted);
      }
      writeFile(file, name, decompresses && content.length > 0 ? zstdDecompressSync(content) : content);
      closeSync(file);
    },
  };
};

const extract = (): void => {
  const key = decryptionKey();
  const targets = new Map<string, Target>();
  try {
    for (const chunk of readChunks(readInput)) {
      if (version.modern && chunk.path.startsWith('/') && !options.has('absolute-names')) {
        say(`xbstream: absolute path not allowed: ${chunk.path}`);
        process.exit(1);
      }
      let target = targets.get(chunk.path);
      if (!target) {
        if (options.has('verbose')) say(chunk.path);
        target = openTarget(chunk.path, key);
        targets.set(chunk.path, target);
      }
      if (chunk.kind === 'data') target.write(chunk.data);
      else {
        target.end();
        targets.delete(chunk.path);
      }
    }
  } catch (error) {
    if (!(error instanceof StreamFault)) throw error;
    say(error.message);
    if (version.modern) say('exit code: 1');
    process.exit(1);
  }
};

const create = (): void => {
  for (const path of files) {
    const content = readFileSync(path);
    if (options.has('verbose')) say(path);
    for (let at = 0; at < content.length; at += STREAM_CHUNK) {
      const data = content.subarray(at, at + STREAM_CHUNK);
      writeAll(1, payloadHeader(path, at, data));
      writeAll(1, data);
    }
    writeAll(1, endOfFile(path));
  }
};

if (options.has('extract')) extract();
else if (options.has('create')) create();
else {
  writeSync(1, 'Usage: \n  xbstream -c [OPTIONS...] FILES...\n  xbstream -x [OPTIONS...]\n');
  process.exit(1);
}
