import { writeSync } from 'node:fs';
import { syntheticStream } from '#test/doubles/xbstream-writer.ts';

/** Writes a synthetic xbstream of about `argv[2]` bytes in `argv[3]` files to standard output. */
const [bytes, files] = process.argv.slice(2).map(Number);
for (const piece of syntheticStream({ bytes: bytes ?? 0, files: files ?? 1 })) {
  for (let at = 0; at < piece.length; ) at += writeSync(1, piece, at);
}
