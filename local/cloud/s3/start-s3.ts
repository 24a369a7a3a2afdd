import { mkdirSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import S3rver from '@20minutes/s3rver';
import type { ProxiedService } from '../service.ts';
import { FaultInjector } from './fault-injector.ts';
import { createFront, type FrontOptions } from './front.ts';
import { ObjectStore } from './object-store.ts';

export interface S3Options {
  /** Where the objects are kept, one directory a bucket. */
  readonly stateDirectory: string;
  /** Created unless they are there. */
  readonly buckets: readonly string[];
  /** Whether a caller may do something; everybody may everything when absent. */
  readonly allows?: FrontOptions['allows'];
  readonly now?: () => Date;
}

export interface S3 extends ProxiedService {
  /** Faults of requests to come; also at `PUT /_redoubt/faults` of the origin, as a JSON list of rules. */
  readonly faults: FaultInjector;
  close(): Promise<void>;
}

/** Starts an S3 server on two loopback ports: the server itself, and before it the front, which is the origin to use. */
export const startS3 = async ({
  stateDirectory,
  buckets,
  allows = () => true,
  now = () => new Date(),
}: S3Options): Promise<S3> => {
  mkdirSync(stateDirectory, { recursive: true });
  const store = new ObjectStore(stateDirectory);
  await store.removeUnfinished();
  const server = new S3rver({
    address: '127.0.0.1',
    port: 0,
    directory: stateDirectory,
    silent: true,
    vhostBuckets: false,
    configureBuckets: buckets.map((name) => ({ name })),
  });
  server.store = store;
  server.context.store = store;
  const { port } = await server.run();
  server.httpServer.keepAliveTimeout = 0;
  server.httpServer.requestTimeout = 0;

  const faults = new FaultInjector();
  const front = createFront({ store, origin: new URL(`http://127.0.0.1:${port}`), faults, allows, now });
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));

  return {
    signingName: 's3',
    origin: `http://127.0.0.1:${(front.address() as AddressInfo).port}`,
    faults,
    async close() {
      for (const listener of [front, server.httpServer]) {
        await new Promise<void>((resolve) => {
          listener.close(() => resolve());
          listener.closeAllConnections();
        });
      }
    },
  };
};
