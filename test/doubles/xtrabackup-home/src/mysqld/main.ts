import { chmodSync, existsSync, unlinkSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { parseArgument, readOptionFile } from '../option-file.ts';
import { serveSession } from '../wire/server-session.ts';
import { serverLog } from './log.ts';
import { Server } from './server.ts';
import { serverVersion } from './server-version.ts';
import { Session } from './session.ts';

const GROUPS = ['mysqld', 'server', 'mysqld-5.7', 'mysqld-8.0', 'mysqld-8.4'];

const parseOptions = (args: readonly string[]): Map<string, string> => {
  const options = new Map<string, string>();
  for (const [index, argument] of args.entries()) {
    const option = parseArgument(argument);
    if (!option) continue;
    if (index === 0 && option.name === 'defaults-file') {
      for (const { name, value } of readOptionFile(option.value ?? '', GROUPS)) options.set(name, value ?? '');
    } else if (option.name.startsWith('skip-')) options.delete(option.name.slice(5));
    else options.set(option.name, option.value ?? '');
  }
  return options;
};

const options = parseOptions(process.argv.slice(2));
if (options.has('version')) {
  process.stdout.write(`mysqld  Ver ${serverVersion().version} for Linux on x86_64 (Source distribution)\n`);
  process.exit(0);
}
const log = serverLog(options.get('log-error'));

if (options.has('initialize-insecure') || options.has('initialize')) {
  Server.initialize(options, log);
  process.exit(0);
}

const server = ((): Server => {
  try {
    return Server.start(options, log);
  } catch (error) {
    log('ERROR', `InnoDB: Plugin initialization aborted with error Generic error: ${(error as Error).message}`);
    log('ERROR', 'Aborting');
    process.exit(1);
  }
})();

let connections = 0;
const sockets = new Set<Socket>();
const listener = createServer((socket) => {
  connections += 1;
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
  const session = new Session(server, connections, () => socket.destroy());
  serveSession(socket, connections, session).catch(() => socket.destroy());
});

server.shutdown = () => {
  listener.close();
  setImmediate(() => {
    for (const socket of sockets) socket.destroy();
    log('Note', 'InnoDB: Starting shutdown...');
    server.close();
    log('Note', `InnoDB: Shutdown completed; log sequence number ${server.store.lsn}`);
    log('Note', 'mysqld: Shutdown complete');
    process.exit(0);
  });
};
process.on('SIGTERM', server.shutdown);

const path = options.get('socket') ?? join(server.dataDirectory, 'mysql.sock');
if (existsSync(path)) unlinkSync(path);
listener.listen(path, () => {
  chmodSync(path, 0o777);
  log('Note', 'mysqld: ready for connections.');
  log(
    'Note',
    `Version: '${server.version.version}'  socket: '${path}'  port: ${server.variables.get('port')}  Source distribution`,
  );
});
if (options.has('port') && !process.argv.includes('--skip-networking')) {
  const tcp = createServer((socket) => listener.emit('connection', socket));
  tcp.listen(Number(options.get('port')), '127.0.0.1');
  tcp.unref();
}
