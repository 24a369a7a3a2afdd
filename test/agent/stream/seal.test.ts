import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createSeal, FRAME_BYTES, sealBuffer } from '#agent/stream/seal.ts';
import type { SealContext } from '#agent/stream/seal-context.ts';
import { unseal, unsealBuffer } from '#agent/stream/unseal.ts';
import { backupIdSchema, chainIdSchema, clusterIdSchema } from '#core/ids.ts';

const context: SealContext = {
  cluster: clusterIdSchema.parse('orders'),
  chain: chainIdSchema.parse('20261122T051210Z-3f9a1c'),
  backup: backupIdSchema.parse('20261122T051210Z-f0000-3f9a1c'),
  object: 'data.00000',
};
const key = randomBytes(32);

const seal = async (plain: Buffer, pieceBytes = 100_000): Promise<Buffer> => {
  const sealing = createSeal(key, context);
  const pieces: Buffer[] = [];
  const reading = (async () => {
    for await (const piece of sealing) pieces.push(piece as Buffer);
  })();
  for (let at = 0; at < plain.length; at += pieceBytes) sealing.write(plain.subarray(at, at + pieceBytes));
  sealing.end();
  await reading;
  return Buffer.concat(pieces);
};

const open = async (message: Buffer, dataKey = key, as = context, pieceBytes = 65_536): Promise<Buffer> => {
  const source = async function* () {
    for (let at = 0; at < message.length; at += pieceBytes) yield message.subarray(at, at + pieceBytes);
  };
  const pieces: Buffer[] = [];
  for await (const piece of unseal(source(), dataKey, as)) pieces.push(piece);
  return Buffer.concat(pieces);
};

const nameOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'opened',
    (error: Error) => error.name,
  );

describe('sealing', () => {
  it.each([0, 1, FRAME_BYTES - 1, FRAME_BYTES, 3 * FRAME_BYTES + 5])('opens to the same %i bytes', async (bytes) => {
    const plain = randomBytes(bytes);
    expect((await open(await seal(plain))).equals(plain)).toBe(true);
  });

  it('does the same for something small', async () => {
    const message = await sealBuffer(Buffer.from('inventory'), key, context);
    expect((await unsealBuffer(message, key, context)).toString()).toBe('inventory');
    expect((await open(message)).toString()).toBe('inventory');
  });

  it('hides the plaintext', async () => {
    expect((await seal(Buffer.alloc(5000, 'plaintext'))).includes('plaintext')).toBe(false);
  });
});

it('releases nothing of what was appended to a message', async () => {
  const message = Buffer.concat([await seal(Buffer.from('x')), Buffer.from('appended')]);
  expect((await open(message)).toString()).toBe('x');
});

describe('a sealed object is refused', () => {
  it('with another key', async () => {
    const message = await seal(Buffer.from('x'));
    expect(await nameOf(open(message, randomBytes(32)))).toBe('ObjectTampered');
    expect(await nameOf(unsealBuffer(message, randomBytes(32), context))).toBe('ObjectTampered');
  });

  it.each([
    ['object', { ...context, object: 'data.00001' }],
    ['backup', { ...context, backup: backupIdSchema.parse('20261122T051210Z-i0001-3f9a1c') }],
    ['cluster', { ...context, cluster: clusterIdSchema.parse('others') }],
  ])('as another %s', async (_what, as) => {
    const message = await seal(Buffer.from('x'));
    expect(await nameOf(open(message, key, as))).toBe('ObjectTampered');
    expect(await nameOf(unsealBuffer(message, key, as))).toBe('ObjectTampered');
  });

  it('with any flipped byte', async () => {
    const message = await seal(Buffer.from('some content'));
    for (let at = 0; at < message.length; at += 3) {
      const damaged = Buffer.from(message);
      damaged.writeUInt8((damaged[at] as number) ^ 1, at);
      expect(await nameOf(open(damaged)), `byte ${at}`).toBe('ObjectTampered');
    }
  });

  it('cut anywhere, at the border of a frame too', async () => {
    const message = await seal(randomBytes(2 * FRAME_BYTES));
    for (const length of [0, 1, 100, 500, FRAME_BYTES, message.length - FRAME_BYTES, message.length - 1])
      expect(await nameOf(open(message.subarray(0, length))), `${length} bytes`).toBe('ObjectTampered');
  });

  it('and releases no byte of a frame that does not hold', async () => {
    const message = await seal(randomBytes(FRAME_BYTES + 100));
    message.writeUInt8((message[1000] as number) ^ 1, 1000);
    let released = 0;
    await expect(async () => {
      for await (const piece of unseal(Readable.from([message]), key, context)) released += piece.length;
    }).rejects.toThrow();
    expect(released).toBe(0);
  });

  it('but an error of its source stays what it is', async () => {
    const source = async function* (): AsyncGenerator<Buffer> {
      yield Buffer.alloc(10);
      throw new RangeError('network');
    };
    await expect(async () => {
      for await (const _ of unseal(source(), key, context));
    }).rejects.toThrow(RangeError);
  });
});
