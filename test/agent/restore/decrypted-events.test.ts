import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DecryptedEvents } from '#agent/restore/decrypted-events.ts';
import type { InventoryFile } from '#agent/stream/inventory-format.ts';
import type { XbstreamEvent } from '#agent/stream/xbstream-reader.ts';
import { RedoubtError } from '#core/errors.ts';

const KEY = randomBytes(32);

/** A chunk as `--encrypt` writes it (format: reference of Percona's xbcrypt, magic XBCRYP03). */
const chunk = (text: Buffer, key = KEY): Buffer => {
  const iv = randomBytes(16);
  const cipher = createCipheriv(`aes-${key.length * 8}-ctr`, key, iv);
  const body = cipher.update(Buffer.concat([text, createHash('sha256').update(text).digest()]));
  const header = Buffer.alloc(44);
  header.write('XBCRYP03');
  header.writeBigUInt64LE(BigInt(body.length), 16);
  header.writeBigUInt64LE(BigInt(body.length), 24);
  header.writeUInt32LE(crc32(body), 32);
  header.writeBigUInt64LE(16n, 36);
  return Buffer.concat([header, iv, body]);
};

const inventory = (...files: InventoryFile[]) => ({ format: 'redoubt-inventory', version: 1, files }) as const;
const PATH = 'app/t.ibd.xbcrypt';
const file = (plainBytes: number, path = PATH) => ({ path, bytes: 1, crc32: 0, plainBytes });

/** What an extraction would write of a file that comes in these pieces. */
const decrypt = (pieces: readonly Buffer[], plainBytes: number, key = KEY): Buffer => {
  const decrypted = new DecryptedEvents(inventory(file(plainBytes)), key);
  const written: XbstreamEvent[] = [];
  for (const [index, piece] of pieces.entries()) {
    // As the reader does: its buffer is used again once the next piece is read.
    const buffer = Buffer.from(piece);
    written.push(...decrypted.of({ kind: 'data', path: PATH, offset: index, data: buffer }));
    buffer.fill(0xee);
  }
  written.push(...decrypted.of({ kind: 'end', path: PATH }));
  expect(written.at(-1)).toEqual({ kind: 'end', path: 'app/t.ibd' });
  const data = written.flatMap((event) => (event.kind === 'data' ? [event] : []));
  let position = 0;
  for (const event of data) {
    expect([event.path, event.offset]).toEqual(['app/t.ibd', position]);
    position += event.data.length;
  }
  return Buffer.concat(data.map((event) => event.data));
};

const refusal = (action: () => void): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof RedoubtError) return `${error.code}: ${error.detail}`;
    throw error;
  }
  return 'none';
};

describe('decrypting a stream', () => {
  it('gives the plaintext, however the stream is cut into pieces', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { maxLength: 5 }),
        fc.integer({ min: 1, max: 150 }),
        fc.constantFrom(16, 24, 32),
        (texts, size, keyBytes) => {
          const key = randomBytes(keyBytes);
          const plain = Buffer.concat(texts);
          const encrypted = Buffer.concat(texts.map((text) => chunk(Buffer.from(text), key)));
          const pieces = [];
          for (let at = 0; at < encrypted.length; at += size) pieces.push(encrypted.subarray(at, at + size));
          expect(decrypt(pieces, plain.length, key).equals(plain)).toBe(true);
        },
      ),
    );
  });

  it('leaves what the engine wrote in clear as it is', () => {
    const decrypted = new DecryptedEvents(inventory(file(0)), KEY);
    const event = { kind: 'data', path: 'app/t.ibd.meta', offset: 0, data: Buffer.from('page_size') } as const;
    expect([...decrypted.of(event)]).toEqual([event]);
  });

  const [one, two] = [chunk(Buffer.from('page one')), chunk(Buffer.from('page two'))];
  const flipped = (at: number): Buffer => {
    const spoilt = Buffer.from(one);
    spoilt[at] = (spoilt[at] ?? 0) ^ 1;
    return spoilt;
  };

  // Stock programs exit 0 over every one of these (37, 63j), as 2.4.7 or in all versions.
  it.each([
    ['a flipped bit', [flipped(70)], /^StreamCorrupt: app\/t\.ibd\.xbcrypt: the checksum of a chunk does not hold$/],
    ['a damaged header', [flipped(0)], /^StreamCorrupt: app\/t\.ibd\.xbcrypt: no chunk starts$/],
    ['a cut inside a chunk', [one, two.subarray(0, 70)], /^StreamIncomplete: .* ends inside an encrypted chunk$/],
    ['a cut inside a header', [one, two.subarray(0, 20)], /^StreamIncomplete: .* ends inside an encrypted chunk$/],
    ['a cut at a chunk border', [one], /^StreamIncomplete: app\/t\.ibd was decrypted to 8 bytes, not 16$/],
    ['a chunk too many', [one, two, two], /^StreamIncomplete: app\/t\.ibd was decrypted to 24 bytes, not 16$/],
    ['nothing at all', [], /^StreamIncomplete: app\/t\.ibd was decrypted to 0 bytes, not 16$/],
    ['a chunk under another key', [one, chunk(Buffer.from('page two'), randomBytes(32))], /^KeyInvalid: app\/t/],
  ] as const)('refuses %s', (_, pieces, message) => {
    expect(refusal(() => decrypt(pieces, 16))).toMatch(message);
  });

  it('refuses an initialisation vector that was changed: the hash of the plaintext does not hold', () => {
    expect(refusal(() => decrypt([flipped(50), two], 16))).toMatch(/^KeyInvalid: /);
  });

  it('refuses a file that is there encrypted and in clear: one would be written over the other', () => {
    const clear = { path: 'app/t.ibd', bytes: 1, crc32: 0 };
    expect(refusal(() => new DecryptedEvents(inventory(clear, file(1)), KEY))).toBe(
      'ObjectTampered: the stream holds app/t.ibd encrypted and in clear',
    );
  });
});
