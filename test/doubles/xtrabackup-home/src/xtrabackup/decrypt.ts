import { spawnSync } from 'node:child_process';
import {
  accessSync,
  closeSync,
  constants,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { decryptChunks, isKeyLength, readKeyFile } from '../crypt-chunks.ts';
import { toolVersion } from '../tool-version.ts';
import { errcode, writeAll } from '../write-all.ts';
import { Exit, tell } from './console.ts';
import { directoryOption, type Options } from './options.ts';
import { tellVersion } from './tell-version.ts';

const version = toolVersion();

const filesBelow = (directory: string): readonly string[] =>
  readdirSync(directory, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory()
      ? filesBelow(`${directory}/${entry.name}`)
      : entry.isFile()
        ? [`${directory}/${entry.name}`]
        : [],
  );

const onPath = (program: string): boolean =>
  (process.env.PATH ?? '').split(':').some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

const brokenPipe = (path: string): void => {
  // cat notices only where more is left than a pipe holds.
  if (statSync(path).size > 65_536) tell.raw('cat: write error: Broken pipe');
};

/** What the pipeline `cat F | xbcrypt -d … > G` does, without starting it. Returns whether its last command succeeded. */
const decryptFile = (path: string, options: Options): boolean => {
  const output = path.slice(0, -'.xbcrypt'.length);
  if (!onPath('xbcrypt')) {
    writeFileSync(output, '');
    tell.raw('sh: 1: xbcrypt: not found');
    brokenPipe(path);
    return false;
  }
  const literal = options.get('encrypt-key');
  // A key that is no file stands on the command line of the pipeline, for everybody to see (reference F.1).
  if (literal !== undefined && !version.atLeast('8.0.28'))
    return (
      spawnSync(
        'sh',
        [
          '-c',
          `cat ${path} | xbcrypt --decrypt --encrypt-algo=${options.get('decrypt')} --encrypt-key=${literal} > ${output}`,
        ],
        { stdio: ['ignore', 'inherit', 'inherit'] },
      ).status === 0
    );
  const keyFile = options.get('encrypt-key-file');
  const key = keyFile === undefined ? Buffer.from(literal ?? '', 'latin1') : readKeyFile(keyFile);
  const target = openSync(output, 'w', 0o644);
  try {
    if (typeof key === 'number') {
      tell.raw(`xbcrypt:xb_crypt_read_key_file: unable to open config file "${keyFile}", errno(${key})`);
      tell.raw(`${keyFile}: unable to read encryption key file "xbcrypt".`);
      brokenPipe(path);
      return false;
    }
    if (!isKeyLength(key)) {
      tell.raw('xbcrypt:decrypt: unable to set libgcrypt cipherkey - User defined source 1 : Invalid key length');
      brokenPipe(path);
      return false;
    }
    const end = decryptChunks(readFileSync(path), key, (plain) => writeAll(target, plain));
    if (end.kind === 'wrong-key') {
      tell.raw(
        `xbcrypt:${version.atLeast('2.4.9') ? 'xb_crypt_decrypt' : 'mode_decrypt'} invalid plaintext hash. Wrong encrytion key specified?`,
      );
      brokenPipe(path);
      return false;
    }
    if (end.kind === 'damaged') {
      tell.raw(`xbcrypt:${end.message}`);
      // To 2.4.7 that is the end of the file.
      return !version.atLeast('2.4.20');
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    tell.raw(`xbcrypt: Error writing file 'UNOPENED' ${errcode(error)}`);
    tell.raw('xbcrypt:decrypt: unable to write output chunk.');
    brokenPipe(path);
    return false;
  } finally {
    closeSync(target);
  }
};

const decompressFile = (path: string): boolean => {
  if (!onPath('zstd')) {
    tell.raw('sh: 1: zstd: not found');
    return false;
  }
  const content = readFileSync(path);
  writeFileSync(path.slice(0, -'.zst'.length), content.length === 0 ? '' : zstdDecompressSync(content));
  return true;
};

/** Runs `--decrypt` and `--decompress` over a directory. Throws `Exit`. */
export const decrypt = (options: Options): void => {
  const target = directoryOption(options, 'target-dir') ?? `${process.cwd()}/`;
  tellVersion();
  try {
    process.chdir(target);
  } catch (error) {
    tell.tool(`Can't change dir to '${target}' ${errcode(error)}`);
    tell.bare(`cannot my_setwd ${target}`);
    throw new Exit(1);
  }
  const work = options.has('decrypt')
    ? { suffix: '.xbcrypt', word: 'decrypting', run: (path: string) => decryptFile(path, options) }
    : { suffix: '.zst', word: 'decompressing', run: decompressFile };
  const waiting = filesBelow('.').filter((path) => path.endsWith(work.suffix));
  const threads = Math.max(1, Number(options.get('parallel') ?? 1));
  const failed = new Set<number>();
  // Each thread stops at its first failure; the others go on.
  for (let thread = 1; waiting.length > 0 && failed.size < threads; thread = (thread % threads) + 1) {
    if (failed.has(thread)) continue;
    const path = waiting.shift() as string;
    tell.thread(thread, `${work.word} ${path}`);
    if (!work.run(path)) {
      failed.add(thread);
      continue;
    }
    if (options.has('remove-original')) {
      tell.thread(thread, `removing ${path}`);
      unlinkSync(path);
    }
  }
  for (const thread of [...failed].sort((a, b) => a - b)) tell.bare(`Error: thread ${thread - 1} failed.`);
  if (failed.size > 0) throw new Exit(1);
  tell.timed('completed OK!');
};
