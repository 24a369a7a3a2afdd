import { createZstdDecompress, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { FrameContexts } from '#agent/stream/frame-contexts.ts';

describe('contexts that decompress', () => {
  const bomb = zstdCompressSync(Buffer.alloc(8_000_000));

  it('let nothing out of a frame beyond what was allowed, and go on with the next', async () => {
    const contexts = new FrameContexts(() => createZstdDecompress({ chunkSize: 65_536 }));
    await expect(contexts.write(bomb, 1_000_000)).rejects.toThrow('more comes out of a frame than may');
    expect((await contexts.write(bomb, 8_000_000)).length).toBe(8_000_000);
    expect((await contexts.write(zstdCompressSync('x'), 1)).toString()).toBe('x');
    contexts.close();
  });
});
