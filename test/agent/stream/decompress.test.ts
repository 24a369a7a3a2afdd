import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decompress } from '#agent/stream/decompress.ts';
import { FrameCompressor } from '#agent/stream/frame-compressor.ts';

const inPieces = async function* (whole: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < whole.length; at += size) yield whole.subarray(at, at + size);
};

const all = async (source: AsyncIterable<Buffer>): Promise<Buffer> => {
  const pieces: Buffer[] = [];
  for await (const piece of source) pieces.push(piece);
  return Buffer.concat(pieces);
};

/** Two at a time, so that contexts are used again. */
const framesOf = async (blocks: readonly Buffer[], level = 3): Promise<Buffer> => {
  const compressor = new FrameCompressor(level);
  const frames: Buffer[] = [];
  for (let at = 0; at < blocks.length; at += 2)
    frames.push(...(await Promise.all(blocks.slice(at, at + 2).map((block) => compressor.compress(block)))));
  compressor.close();
  return Buffer.concat(frames);
};

describe('a concatenation of frames', () => {
  const blocks = [Buffer.alloc(300_000, 'pages '), randomBytes(200_000), Buffer.from('x'), Buffer.alloc(1024 * 1024)];

  it.each([1, 17, 65_536, 10_000_000])('decompresses to the blocks in their order, in pieces of %i', async (size) => {
    const plain = await all(decompress(inPieces(await framesOf(blocks), size)));
    expect(plain.equals(Buffer.concat(blocks))).toBe(true);
  });

  it('is one stream for the zstd command', async () => {
    const plain = execFileSync('zstd', ['-dc'], { input: await framesOf(blocks), maxBuffer: 1 << 26 });
    expect(plain.equals(Buffer.concat(blocks))).toBe(true);
  });

  it('is more than Node by itself would read: the reason why frames are cut here', async () => {
    expect(zstdDecompressSync(await framesOf(blocks)).length).toBe(blocks[0]?.length);
  });

  it('survives any blocks, levels and pieces', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 5000 }), { maxLength: 6 }),
        fc.integer({ min: 1, max: 19 }),
        fc.integer({ min: 1, max: 700 }),
        async (parts, level, size) => {
          const content = parts.map((part) => Buffer.from(part));
          const plain = await all(decompress(inPieces(await framesOf(content, level), size), 2));
          expect(plain.equals(Buffer.concat(content))).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('what is no such concatenation is refused', () => {
  const refused = async (bytes: Buffer): Promise<unknown> => {
    try {
      await all(decompress(inPieces(bytes, 1000)));
    } catch (error) {
      return (error as Error).name;
    }
    return undefined;
  };

  it('a stream cut anywhere within a frame', async () => {
    const frame = await framesOf([Buffer.alloc(5000, 'cut')]);
    for (let length = 1; length < frame.length; length++)
      expect(await refused(frame.subarray(0, length))).toBe('ObjectTampered');
  });

  it('other bytes', async () => expect(await refused(randomBytes(100))).toBe('ObjectTampered'));

  it('bytes after the last frame', async () => {
    const bytes = Buffer.concat([await framesOf([Buffer.from('x')]), Buffer.from('trailing')]);
    expect(await refused(bytes)).toBe('ObjectTampered');
  });

  it('a frame that promises more memory than any of ours', async () => {
    const frame = zstdCompressSync(Buffer.alloc(70 * 1024 * 1024), { pledgedSrcSize: 70 * 1024 * 1024 });
    expect(await refused(frame)).toBe('ObjectTampered');
  });
});
