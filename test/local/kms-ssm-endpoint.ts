import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Principals } from '#local/cloud/principals.ts';
import { errorResponse, type Service } from '#local/cloud/service.ts';

/** A bare endpoint before single services: no router, so that a service's test fails for the service's own faults only. */
export const serveForTest = async (
  services: readonly Service[],
  principals: Principals,
): Promise<{ readonly url: string; close(): Promise<void> }> => {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const [, accessKeyId, signingName] =
      /Credential=([^/]+)\/\d+\/[^/]+\/([^/]+)\//.exec(request.headers.authorization ?? '') ?? [];
    const service = services.find((candidate) => candidate.signingName === signingName);
    const answer = await (service === undefined
      ? Promise.reject(new Error(`no service ${signingName}`))
      : service.handle({
          method: request.method ?? '',
          url: new URL(request.url ?? '/', 'http://127.0.0.1'),
          headers: request.headers as Record<string, string>,
          body: Buffer.concat(chunks),
          caller: principals.arnOf(accessKeyId),
          operation: String(request.headers['x-amz-target'] ?? '').split('.')[1],
        })
    ).catch(errorResponse);
    response.writeHead(answer.status, answer.headers).end(answer.body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};
