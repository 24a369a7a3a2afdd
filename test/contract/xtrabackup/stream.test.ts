import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filesIn, KEY, Lab, metadataIn } from './lab.ts';
import { type Ran, runProgram } from './run-program.ts';

// Streams, native encryption and what undoes them. Numbers are those of the recorded runs of 2.4.7.

let lab: Lab;
/** Streams of the same, quiet server. */
let plain: string;
let encrypted: string;
/** A directory of encrypted files. */
let sealed: string;

const NATIVE = (): readonly string[] => ['--encrypt=AES256', `--encrypt-key-file=${lab.keyFile}`];

const streamed = async (args: readonly string[] = []): Promise<string> => {
  const into = lab.fresh('stream');
  const ran = await lab.backup(lab.fresh('tmp'), ['--stream=xbstream', ...args], { into });
  expect(ran.code, ran.log).toBe(0);
  return into;
};

const extract = async (
  stream: string | Buffer,
  args: readonly string[] = [],
  into = lab.fresh('x'),
): Promise<Ran & { directory: string }> => {
  if (!existsSync(into)) mkdirSync(into);
  return { ...(await runProgram('xbstream', ['-x', ...args, '-C', into], { from: stream })), directory: into };
};

const decrypt = (directory: string, args: readonly string[] = [], keyFile = lab.keyFile): Promise<Ran> =>
  runProgram('xtrabackup', ['--decrypt=AES256', `--encrypt-key-file=${keyFile}`, ...args, `--target-dir=${directory}`]);

const otherKey = (content = 'f'.repeat(32)): string => {
  const path = lab.fresh('key');
  writeFileSync(path, content);
  return path;
};

/** Where the chunks of a stream begin, and where it ends. */
const chunkBorders = (stream: Buffer): readonly number[] => {
  const borders: number[] = [];
  let at = 0;
  while (at < stream.length) {
    borders.push(at);
    const path = stream.readUInt32LE(at + 10);
    const data = stream[at + 9] === 0x50 ? 20 + Number(stream.readBigUInt64LE(at + 14 + path)) : 0;
    at += 14 + path + data;
  }
  return [...borders, at];
};

beforeAll(async () => {
  lab = await Lab.create();
  plain = await streamed();
  encrypted = await streamed(NATIVE());
  sealed = await lab.taken(NATIVE());
});

afterAll(async () => {
  await lab.close();
});

describe('a stream', () => {
  it('is a sequence of chunks and nothing else, each file ended (17)', () => {
    const stream = readFileSync(plain);
    const borders = chunkBorders(stream);
    expect(borders.at(-1)).toBe(stream.length);
    for (const at of borders.slice(0, -1)) expect(stream.toString('latin1', at, at + 8)).toBe('XBSTCK01');
    const ended = borders
      .slice(0, -1)
      .filter((at) => stream[at + 9] === 0x45)
      .map((at) => stream.toString('utf8', at + 14, at + 14 + stream.readUInt32LE(at + 10)));
    expect(ended).toContain('app/enc.ibd');
    expect(ended.at(-1)).toBe('xtrabackup_info');
  });

  it('holds what a directory would', async () => {
    const { code, log, directory } = await extract(plain);
    expect([code, log]).toEqual([0, '']);
    expect(filesIn(directory)).toEqual(filesIn(await lab.taken()));
    expect(metadataIn(directory)?.type).toBe('full-backuped');
  });

  it('names the files as they pass with -v (19)', async () => {
    const { log } = await extract(plain, ['-v']);
    expect(log.split('\n')[0]).toBe('ibdata1');
    expect(log).toContain('\napp/enc.ibd\n');
  });

  it('of an encrypted backup holds encrypted files, the checkpoints among them (16, 19)', async () => {
    const { directory } = await extract(encrypted);
    expect(filesIn(directory).every((file) => file.endsWith('.xbcrypt'))).toBe(true);
    expect(filesIn(directory)).toContain('xtrabackup_checkpoints.xbcrypt');
  });

  it('is decrypted as it is extracted (19, 96)', async () => {
    const { code, log, directory } = await extract(encrypted, [
      '--decrypt=AES256',
      `--encrypt-key-file=${lab.keyFile}`,
    ]);
    expect([code, log]).toEqual([0, 'encryption: using gcrypt 1.10.1\n']);
    expect(filesIn(directory)).toContain('app/enc.ibd');
    expect(metadataIn(directory)?.type).toBe('full-backuped');
  });

  it('of an increment holds page lists and what they need (18)', async () => {
    const full = await lab.taken();
    const { directory } = await extract(await streamed([`--incremental-basedir=${full}`]));
    expect(filesIn(directory)).toContain('app/enc.ibd.delta');
    expect(readFileSync(join(directory, 'app/enc.ibd.meta'), 'utf8')).toMatch(
      /^page_size = 16384\nzip_size = 0\nspace_id = \d+\n$/,
    );
    // Nothing changed: a page list without pages.
    expect(statSync(join(directory, 'app/enc.ibd.delta')).size).toBe(16_384);
    expect(readFileSync(join(directory, 'app/enc.ibd.delta')).toString('latin1', 0, 4)).toBe('XTRA');
  });

  it('fails where its reader goes away (63i)', async () => {
    const ran = await lab.backup(lab.fresh('tmp'), ['--stream=xbstream'], {
      on: { line: /Streaming \.\/ibdata1/, act: (child) => void child.stdout?.destroy() },
    });
    expect(ran.code).toBe(1);
    expect(ran.log).toContain("xtrabackup: Error writing file 'UNOPENED' (Errcode: 32 - Broken pipe)");
    expect(ran.log).toContain('xtrabackup: Error: failed to copy datafile.');
  });
});

describe('silent at extraction: exit 0, but', () => {
  it('38: an empty stream is extracted', async () => {
    const { code, log, directory } = await extract(Buffer.alloc(0));
    expect([code, log]).toEqual([0, '']);
    expect(readdirSync(directory)).toEqual([]);
  });

  it('38, 80c: a stream cut between two chunks is extracted, as far as it goes', async () => {
    const stream = readFileSync(plain);
    const borders = chunkBorders(stream);
    const { code, log, directory } = await extract(stream.subarray(0, borders[borders.length >> 1]));
    expect([code, log]).toEqual([0, '']);
    expect(filesIn(directory)).toContain('ibdata1');
    expect(filesIn(directory)).not.toContain('xtrabackup_checkpoints');
  });

  it('38: files that are there stay as they are', async () => {
    const into = lab.fresh('x');
    mkdirSync(into);
    writeFileSync(join(into, 'ibdata1'), 'old');
    const { code, log } = await extract(plain, [], into);
    expect(code).toBe(0);
    expect(log).toContain("xbstream: Can't create/write to file './ibdata1' (Errcode: 17 - File exists)");
    expect(log).toContain('xbstream: failed to create file.');
    expect(readFileSync(join(into, 'ibdata1'), 'utf8')).toBe('old');
  });
});

describe('an extraction that fails says so', () => {
  it('38: a stream cut inside a chunk', async () => {
    const { code, log } = await extract(readFileSync(plain).subarray(0, 100_000));
    expect([code, log]).toEqual([1, 'xb_stream_read_chunk(): my_read() failed.\n']);
  });

  it('38: a bit that flipped', async () => {
    const stream = readFileSync(plain);
    stream[5000] = (stream[5000] as number) ^ 1;
    const { code, log } = await extract(stream);
    expect(code).toBe(1);
    expect(log).toMatch(
      /^xb_stream_read_chunk\(\): invalid checksum at offset 0x25: expected 0x[0-9a-f]+, read 0x[0-9a-f]+\.$/m,
    );
  });

  it('38: what is no stream', async () => {
    const { code, log } = await extract(Buffer.from('this is not a stream of anything'));
    expect([code, log]).toEqual([1, 'xb_stream_read_chunk(): wrong chunk magic at offset 0x0.\n']);
  });

  it('38: a directory that is not there', async () => {
    const ran = await runProgram('xbstream', ['-x', '-C', join(lab.root, 'nodir')], { from: plain });
    expect(ran.code).toBe(1);
    expect(ran.log).toContain("xbstream: Can't change dir to");
  });

  it('33: the wrong key', async () => {
    const { code, log } = await extract(encrypted, ['--decrypt=AES256', `--encrypt-key-file=${otherKey()}`]);
    expect(code).toBe(1);
    expect(log).toContain('xbstream:xb_crypt_decrypt invalid plaintext hash. Wrong encrytion key specified?');
    expect(log).toContain('xbstream: my_write() failed.');
  });
});

describe('decrypting a directory', () => {
  it('leaves the encrypted files beside the others, or removes them (20, 35)', async () => {
    const copy = lab.copyOf(sealed);
    expect((await decrypt(copy)).code).toBe(0);
    expect(filesIn(copy)).toContain('app/enc.ibd');
    expect(filesIn(copy)).toContain('app/enc.ibd.xbcrypt');
    const { code, log } = await decrypt(copy, ['--remove-original']);
    expect(code).toBe(0);
    expect(log).toMatch(/\[01\] decrypting \.\/ibdata1\.xbcrypt\n.*\[01\] removing \.\/ibdata1\.xbcrypt/);
    expect(filesIn(copy).some((file) => file.endsWith('.xbcrypt'))).toBe(false);
  });

  it('gives what was there: the backup prepares (35)', async () => {
    const copy = lab.copyOf(sealed);
    await decrypt(copy);
    await lab.prepared(copy);
    expect(metadataIn(copy)?.type).toBe('full-prepared');
  });

  it('32: the name of the algorithm means nothing', async () => {
    const copy = lab.copyOf(sealed);
    const ran = await runProgram('xtrabackup', [
      '--decrypt=AES128',
      `--encrypt-key-file=${lab.keyFile}`,
      `--target-dir=${copy}`,
    ]);
    expect(ran.code).toBe(0);
    expect(metadataIn(copy)?.type).toBe('full-backuped');
  });
});

describe('silent at decryption: exit 0 and "completed OK!", but', () => {
  /** The first chunk decrypts to this much. */
  const CHUNK = 65_536;
  const CHUNK_ON_DISK = CHUNK + 92;

  const spoilt = async (
    spoil: (path: string) => void | Promise<void>,
  ): Promise<{ readonly ran: Ran; readonly size: number; readonly left: boolean }> => {
    const copy = lab.copyOf(sealed);
    await spoil(join(copy, 'ibdata1.xbcrypt'));
    const ran = await decrypt(copy, ['--remove-original']);
    expect(ran.code, ran.log).toBe(0);
    expect(ran.log).toContain('completed OK!');
    return { ran, size: statSync(join(copy, 'ibdata1')).size, left: existsSync(join(copy, 'ibdata1.xbcrypt')) };
  };

  it('37: a flipped bit ends the file there, and the original is removed', async () => {
    const { ran, size, left } = await spoilt((path) => {
      const content = readFileSync(path);
      content[CHUNK_ON_DISK * 3 + 1000] = (content[CHUNK_ON_DISK * 3 + 1000] as number) ^ 1;
      writeFileSync(path, content);
    });
    expect(ran.log).toMatch(
      /xbcrypt:xb_crypt_read_chunk invalid checksum at offset 0x[0-9a-f]+, expected 0x[0-9a-f]+, actual 0x[0-9a-f]+\./,
    );
    expect([size, left]).toEqual([CHUNK * 3, false]);
  });

  it('37: so does a file cut inside a chunk', async () => {
    const { ran, size, left } = await spoilt((path) => truncateSync(path, CHUNK_ON_DISK * 2 + 30_000));
    expect(ran.log).toContain('xbcrypt:xb_crypt_read_chunk: failed to read 65568 bytes for chunk payload at offset ');
    expect([size, left]).toEqual([CHUNK * 2, false]);
  });

  it('37: and of one cut between two chunks nothing at all is said', async () => {
    const { ran, size, left } = await spoilt((path) => truncateSync(path, CHUNK_ON_DISK * 2));
    expect(ran.log).not.toContain('xbcrypt:');
    expect([size, left]).toEqual([CHUNK * 2, false]);
  });

  it('63j: an empty file becomes an empty file', async () => {
    const { ran, size, left } = await spoilt((path) => truncateSync(path, 0));
    expect(ran.log).not.toContain('xbcrypt:');
    expect([size, left]).toEqual([0, false]);
  });

  it('63k: a directory without anything to decrypt', async () => {
    const empty = lab.fresh('empty');
    mkdirSync(empty);
    const ran = await decrypt(empty, ['--remove-original']);
    expect(ran.code).toBe(0);
    expect(ran.log).toContain('completed OK!');
  });
});

describe('a decryption that fails says so', () => {
  it('32: the wrong key; the right one afterwards works', async () => {
    const copy = lab.copyOf(sealed);
    const { code, log } = await decrypt(copy, ['--remove-original'], otherKey());
    expect(code).toBe(1);
    expect(log).toContain('xbcrypt:mode_decrypt invalid plaintext hash. Wrong encrytion key specified?');
    expect(log).toContain('Error: thread 0 failed.');
    expect((await decrypt(copy, ['--remove-original'])).code).toBe(0);
    expect(metadataIn(copy)?.type).toBe('full-backuped');
  });

  it('32: with four threads each fails for itself, and empty originals are gone', async () => {
    const directory = lab.fresh('few');
    mkdirSync(directory);
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f'])
      copyFileSync(join(sealed, 'backup-my.cnf.xbcrypt'), join(directory, `${name}.xbcrypt`));
    for (const name of ['0', '1']) writeFileSync(join(directory, `${name}.xbcrypt`), '');
    const { code, log } = await decrypt(directory, ['--remove-original', '--parallel=4'], otherKey());
    expect(code).toBe(1);
    for (const thread of [0, 1, 2, 3]) expect(log).toContain(`Error: thread ${thread} failed.`);
    expect(filesIn(directory).filter((file) => /^[a-f]\.xbcrypt$/.test(file))).toHaveLength(6);
  });

  it('31, 34: a key with a newline; a key file that is not there', async () => {
    const copy = lab.copyOf(sealed);
    expect(await decrypt(copy, [], otherKey(`${KEY}\n`))).toMatchObject({
      code: 1,
      log: expect.stringContaining(
        'xbcrypt:decrypt: unable to set libgcrypt cipherkey - User defined source 1 : Invalid key length',
      ),
    });
    expect(await decrypt(copy, [], '/nope.key')).toMatchObject({
      code: 1,
      log: expect.stringContaining('xbcrypt:xb_crypt_read_key_file: unable to open config file "/nope.key", errno(2)'),
    });
  });

  it('35: xbcrypt is not on the PATH', async () => {
    const ran = await runProgram(
      'xtrabackup',
      ['--decrypt=AES256', `--encrypt-key-file=${lab.keyFile}`, `--target-dir=${lab.copyOf(sealed)}`],
      { env: { PATH: '/usr/bin:/bin' } },
    );
    expect(ran.code).toBe(1);
    expect(ran.log).toMatch(/sh: (1|line 1): xbcrypt: .*not found/);
  });

  it('63l: a directory that is not there', async () => {
    const ran = await decrypt(join(lab.root, 'nope'));
    expect(ran.code).toBe(1);
    expect(ran.log).toContain('(Errcode: 2 - No such file or directory)');
  });

  it('36: preparing what is still encrypted', async () => {
    const ran = await lab.prepare(lab.copyOf(sealed));
    expect(ran.code).toBe(1);
    expect(ran.log).toContain("xtrabackup: Error: failed to read metadata from './xtrabackup_checkpoints'");
  });
});

describe('xbcrypt', () => {
  const run = (args: readonly string[], from: string | Buffer): Promise<Ran> =>
    runProgram('xbcrypt', ['--encrypt-algo=AES256', ...args], { from });
  const key = (): string => `--encrypt-key-file=${lab.keyFile}`;

  it('encrypts in chunks of 64 KiB with 92 bytes more, and decrypts them (33)', async () => {
    const content = Buffer.alloc(100_000, 'redoubt');
    const { stdout } = await run([key()], content);
    expect(stdout).toHaveLength(100_000 + 2 * 92);
    expect(stdout.toString('latin1', 0, 8)).toBe('XBCRYP03');
    const back = await run(['-d', key()], stdout);
    expect(back.code).toBe(0);
    expect(back.stdout.equals(content)).toBe(true);
  });

  it('makes nothing of nothing', async () => {
    expect(await run([key()], Buffer.alloc(0))).toMatchObject({ code: 0, stdout: Buffer.alloc(0) });
  });

  it('33: refuses a wrong key and a key of 33 bytes', async () => {
    const file = join(sealed, 'xtrabackup_checkpoints.xbcrypt');
    expect(await run(['-d', `--encrypt-key-file=${otherKey()}`], file)).toMatchObject({
      code: 1,
      log: 'xbcrypt:mode_decrypt invalid plaintext hash. Wrong encrytion key specified?\n',
    });
    expect((await run(['-d', `--encrypt-key-file=${otherKey(`${KEY}\n`)}`], file)).code).toBe(1);
  });

  it('95: calls a damaged chunk the end, with exit code 0', async () => {
    const content = readFileSync(join(sealed, 'ibdata1.xbcrypt'));
    content[200_000] = (content[200_000] as number) ^ 1;
    const { code, stdout, log } = await run(['-d', key()], content);
    expect([code, stdout.length]).toEqual([0, 3 * 65_536]);
    expect(log).toContain('xbcrypt:xb_crypt_read_chunk invalid checksum at offset ');
  });

  it('95b: and what is not encrypted at all', async () => {
    const { code, stdout, log } = await run(['-d', key()], Buffer.from('0123456789abcdef0123456789abcdef'));
    expect([code, stdout.length]).toEqual([0, 0]);
    expect(log).toBe('xbcrypt:xb_crypt_read_chunk: unable to read chunk header data at offset 0x0.\n');
  });
});
