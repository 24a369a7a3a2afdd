/**
 * Gives the memory of `buffer` back now, not when the garbage collector comes: V8 collects after every 32 MiB or so that lie in buffers, and each
 * collection looks at the whole heap. At hundreds of megabytes a second that costs more than decompression does (npm run bench).
 *
 * `buffer` must be alone in its memory, and nothing may read it any more; whoever does finds it empty.
 */
export const freeBuffer = (buffer: Buffer): void => {
  if (buffer.buffer instanceof ArrayBuffer && buffer.byteLength === buffer.buffer.byteLength) buffer.buffer.transfer(0);
};
