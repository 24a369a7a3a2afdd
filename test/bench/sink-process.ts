import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * Speaks as much of S3 as a backup's uploads need, and throws every body away: what an upload costs the agent, without what storing costs
 * a server on the same two cores. Prints its origin; ends when its standard input does.
 */
const sizes = new Map<string, number>();
/** What was put in one request: a manifest is read again. */
const small = new Map<string, Buffer>();

const drain = async (request: IncomingMessage, onPiece: (piece: Buffer) => void): Promise<number> => {
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.length;
    onPiece(piece);
  }
  return bytes;
};

const server = createServer((request, response) => {
  void (async () => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://sink');
    const isPart = searchParams.has('partNumber');
    const pieces: Buffer[] = [];
    const bytes = await drain(request, isPart ? () => undefined : (piece) => pieces.push(piece));
    const xml = (root: string, content: string): void => {
      response.setHeader('content-type', 'application/xml');
      response.end(`<?xml version="1.0" encoding="UTF-8"?><${root}>${content}</${root}>`);
    };
    if (searchParams.has('uploads')) {
      sizes.set(pathname, 0);
      xml('InitiateMultipartUploadResult', '<UploadId>1</UploadId>');
    } else if (request.method === 'POST') {
      xml('CompleteMultipartUploadResult', '<ETag>"0"</ETag>');
    } else if (request.method === 'PUT') {
      sizes.set(pathname, (isPart ? (sizes.get(pathname) ?? 0) : 0) + bytes);
      if (!isPart) small.set(pathname, Buffer.concat(pieces));
      response.setHeader('etag', '"0"').end();
    } else {
      const size = sizes.get(pathname);
      response
        .writeHead(size === undefined ? 404 : 200, { 'content-length': size ?? 0 })
        .end(request.method === 'GET' ? small.get(pathname) : undefined);
    }
  })();
});
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
process.stdin.resume().on('end', () => process.exit(0));
