import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
import { RedoubtError } from '#core/errors.ts';

/**
 * Holds the right to restore into `directory` (its real path) until disposed of. Throws `HostBusy` while another agent holds it.
 *
 * The lock is a name in Linux's abstract socket namespace: taking it is atomic, and the kernel gives it back when its holder dies, however
 * that happens. A lock file would need somebody to decide that its owner is dead, and two of those can decide at once.
 */
export const lockDirectory = async (directory: string): Promise<AsyncDisposable> => {
  const name = createHash('sha256').update(directory).digest('hex').slice(0, 32);
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'EADDRINUSE'
          ? new RedoubtError('HostBusy', `another restore into ${directory} is running on this host`)
          : error,
      ),
    );
    server.listen({ path: `\0redoubt-restore-${name}` }, resolve);
  });
  server.unref();
  return {
    [Symbol.asyncDispose]: () => new Promise((resolve) => void server.close(() => resolve())),
  };
};
