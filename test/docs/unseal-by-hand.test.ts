import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FRAME_BYTES, sealBuffer } from '#agent/stream/seal.ts';
import type { SealContext } from '#agent/stream/seal-context.ts';
import { backupIdSchema, chainIdSchema, clusterIdSchema } from '#core/ids.ts';
import { programOf } from './restore-by-hand-page.ts';

// The program of docs/restore-by-hand.md is a second implementation of the sealed format, which shares nothing with the first.

const context: SealContext = {
  cluster: clusterIdSchema.parse('shop'),
  chain: chainIdSchema.parse('20261122T051210Z-3f9a1c'),
  backup: backupIdSchema.parse('20261122T051210Z-f0000-3f9a1c'),
  object: 'data.00000',
};
const key = randomBytes(32);
const plain = randomBytes(2 * FRAME_BYTES + 1000);
const REGULAR_FRAME = 4 + 12 + FRAME_BYTES + 16;

let directory: string;
let message: Buffer;
let headerBytes: number;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'redoubt-by-hand-'));
  writeFileSync(join(directory, 'unseal.py'), programOf('unseal.py'));
  message = await sealBuffer(plain, key, context);
  headerBytes = message.length - 2 * REGULAR_FRAME - (4 + 4 + 12 + 4 + 1000 + 16);
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Unsealed {
  readonly status: number | null;
  readonly plain: Buffer;
  readonly said: string;
}

const unseal = (sealed: Buffer, { cluster, chain, backup, object } = context, dataKey = key): Unsealed => {
  writeFileSync(join(directory, 'key'), dataKey);
  const { status, stdout, stderr } = spawnSync(
    '/usr/bin/python3',
    [join(directory, 'unseal.py'), join(directory, 'key'), cluster, chain, backup, object],
    { input: sealed, maxBuffer: 2 ** 26 },
  );
  return { status, plain: stdout, said: stderr.toString() };
};

const flipped = (at: number): Buffer => {
  const spoilt = Buffer.from(message);
  spoilt[at] = (spoilt[at] ?? 0) ^ 1;
  return spoilt;
};

describe('unseal.py', () => {
  it.each([0, 1, 1000, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES])(
    'opens what the agent sealed: %i bytes',
    async (bytes) => {
      const content = plain.subarray(0, bytes);
      const unsealed = unseal(await sealBuffer(content, key, context));
      expect(unsealed).toMatchObject({ status: 0, said: '' });
      expect(unsealed.plain.equals(content)).toBe(true);
    },
  );

  it('refuses a flipped bit wherever it is in the header', () => {
    for (let at = 0; at < headerBytes; at += 19) {
      const { status, plain: written, said } = unseal(flipped(at));
      expect([at, status, written.length]).toEqual([at, 1, 0]);
      expect(said).toMatch(/^REFUSED: data\.00000 of 20261122T051210Z-f0000-3f9a1c (is|was|does|has) .*\n$/);
    }
  });

  it.each([
    ['the first byte of the content', 4 + 12],
    ['a number of a frame', 3],
    ['a nonce', 4],
    ['a tag', REGULAR_FRAME - 1],
    ['the second frame', REGULAR_FRAME + 500],
    ['the number of the last frame', 2 * REGULAR_FRAME + 7],
    ['the length of the last frame', 2 * REGULAR_FRAME + 8 + 12 + 3],
    ['the tag of the last frame', 2 * REGULAR_FRAME + 8 + 12 + 4 + 1000 + 15],
  ])('refuses a flipped bit in the body: %s; what it wrote until then is genuine', (_, at) => {
    const { status, plain: written, said } = unseal(flipped(headerBytes + at));
    expect(status).toBe(1);
    expect(said).toMatch(/^REFUSED: /);
    expect(written.equals(plain.subarray(0, Math.floor(at / REGULAR_FRAME) * FRAME_BYTES))).toBe(true);
  });

  it.each([1, 16, 1036, REGULAR_FRAME, 2 * REGULAR_FRAME])('refuses a message without its last %i bytes', (cut) => {
    expect(unseal(message.subarray(0, message.length - cut))).toMatchObject({
      status: 1,
      said: expect.stringMatching(/^REFUSED: .* is cut\n$/),
    });
  });

  it('refuses frames in another order, and a frame twice', () => {
    const header = message.subarray(0, headerBytes);
    const first = message.subarray(headerBytes, headerBytes + REGULAR_FRAME);
    const rest = message.subarray(headerBytes + 2 * REGULAR_FRAME);
    const second = message.subarray(headerBytes + REGULAR_FRAME, headerBytes + 2 * REGULAR_FRAME);
    for (const frames of [
      [second, first, rest],
      [first, first, second, rest],
      [first, rest],
    ])
      expect(unseal(Buffer.concat([header, ...frames])).said).toMatch(/ has its frames in another order\n$/);
  });

  it('refuses what follows the last frame', () => {
    expect(unseal(Buffer.concat([message, Buffer.from('x')])).said).toMatch(/ goes on after its last frame\n$/);
  });

  it('refuses another key, of this chain or of another', () => {
    expect(unseal(message, context, randomBytes(32)).said).toMatch(/ does not open: /);
  });

  it.each<[string, Partial<SealContext>]>([
    ['cluster', { cluster: clusterIdSchema.parse('other') }],
    ['chain', { chain: chainIdSchema.parse('20261122T051210Z-000000') }],
    ['backup', { backup: backupIdSchema.parse('20261122T051210Z-i0001-3f9a1c') }],
    ['object', { object: 'data.00001' }],
  ])('refuses an object of another %s', (_, other) => {
    expect(unseal(message, { ...context, ...other }).said).toMatch(/ was sealed as another object\n$/);
  });
});
