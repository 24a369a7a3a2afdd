import { closeSync, openSync, readFileSync } from 'node:fs';
import { decryptChunks, encryptChunk, isKeyLength, readKeyFile } from './crypt-chunks.ts';
import { parseArgument } from './option-file.ts';
import { toolVersion } from './tool-version.ts';
import { errcode, writeAll } from './write-all.ts';

const SHORT: Readonly<Record<string, string>> = {
  d: 'decrypt',
  i: 'input',
  o: 'output',
  a: 'encrypt-algo',
  k: 'encrypt-key',
  f: 'encrypt-key-file',
  s: 'encrypt-chunk-size',
  v: 'verbose',
};

const say = (text: string): void => writeAll(2, Buffer.from(`xbcrypt:${text}\n`));

const fail = (text: string): never => {
  say(text);
  process.exit(1);
};

const options = new Map<string, string>();
const args = process.argv.slice(2);
for (let at = 0; at < args.length; at++) {
  const argument = args[at] as string;
  const long = parseArgument(argument);
  const short = /^-([a-z])(.*)$/s.exec(argument);
  const name = long?.name ?? SHORT[short?.[1] ?? ''];
  if (name === undefined || !Object.values(SHORT).includes(name)) {
    writeAll(2, Buffer.from(`xbcrypt: [ERROR] unknown option '${argument}'\n`));
    process.exit(1);
  }
  const isSwitch = name === 'decrypt' || name === 'verbose';
  options.set(name, long?.value ?? (short?.[2] || (isSwitch ? '' : (args[++at] ?? ''))));
}

const keyFile = options.get('encrypt-key-file');
const literal =
  options.get('encrypt-key') ?? (toolVersion().atLeast('8.0.28') ? process.env.XBCRYPT_ENCRYPTION_KEY : undefined);
if (keyFile !== undefined && literal !== undefined) fail('both encryption key and key file specified.');
if (keyFile === undefined && literal === undefined) fail('no encryption key or key file specified.');
let key: Buffer = Buffer.from(literal ?? '', 'latin1');
if (keyFile !== undefined) {
  const content = readKeyFile(keyFile);
  if (typeof content === 'number') {
    say(`xb_crypt_read_key_file: unable to open config file "${keyFile}", errno(${content})`);
    // The words stand in the wrong order in the original.
    writeAll(2, Buffer.from(`${keyFile}: unable to read encryption key file "xbcrypt".\n`));
    process.exit(1);
  }
  key = content;
}
if (!isKeyLength(key))
  fail(
    `${options.has('decrypt') ? 'decrypt' : 'encrypt'}: unable to set libgcrypt cipherkey - User defined source 1 : Invalid key length`,
  );

const output = options.has('output') ? openSync(options.get('output') as string, 'w', 0o644) : 1;
const write = (bytes: Buffer): void => {
  try {
    writeAll(output, bytes);
  } catch (error) {
    writeAll(2, Buffer.from(`xbcrypt: Error writing file 'UNOPENED' ${errcode(error)}\n`));
    fail('decrypt: unable to write output chunk.');
  }
};

const input = readFileSync(options.has('input') ? (options.get('input') as string) : 0);
if (options.has('decrypt')) {
  const end = decryptChunks(input, key, write);
  if (end.kind === 'wrong-key')
    fail(
      `${toolVersion().atLeast('2.4.9') ? 'xb_crypt_decrypt' : 'mode_decrypt'} invalid plaintext hash. Wrong encrytion key specified?`,
    );
  if (end.kind === 'damaged') {
    say(end.message);
    if (toolVersion().atLeast('2.4.20')) process.exit(1);
  }
} else {
  const size = Number(options.get('encrypt-chunk-size') ?? 65_536);
  for (let at = 0; at < input.length; at += size) write(encryptChunk(input.subarray(at, at + size), key));
}
if (output !== 1) closeSync(output);
