import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { stringify } from 'yaml';
import { agentDirectoryOf, type LocalHost, startControlPlane } from './control-plane.ts';

// Keeps a control plane up on this machine until Ctrl-C: the same templates, functions, documents and agent that are deployed.

const { values: options } = parseArgs({
  options: {
    /** Of the endpoint; the same one each time, so that a shell stays set up. */
    port: { type: 'string', default: '4577' },
    cluster: { type: 'string', default: 'mine' },
  },
});

const stateDirectory = join(import.meta.dirname, '..', '.redoubt', 'local');
const host: LocalHost = {
  instance: 'i-0123456789abcdef0',
  role: 'arn:aws:iam::000000000000:role/local-database',
  cluster: options.cluster,
  directory: join(stateDirectory, 'host'),
};

const controlPlane = await startControlPlane({
  stateDirectory,
  hosts: [host],
  port: Number(options.port),
  onProgress: (doing) => console.log(`${doing} …`),
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => {
    console.log('\nending');
    void controlPlane.close().then(() => process.exit(0));
  });

const shown = (path: string): string => relative(process.cwd(), path);
mkdirSync(stateDirectory, { recursive: true });
const environmentFile = join(stateDirectory, 'environment');
writeFileSync(
  environmentFile,
  Object.entries(controlPlane.environment)
    .map(([name, value]) => `export ${name}=${value}\n`)
    .join(''),
  { mode: 0o600 },
);
const clusterFile = join(stateDirectory, 'cluster.yaml');
// The operator's own from then on.
if (!existsSync(clusterFile))
  writeFileSync(
    clusterFile,
    stringify({
      cluster: options.cluster,
      engine: 'mariadb-backup',
      server: {
        socket: '/run/mysqld/mysqld.sock',
        dataDirectory: '/var/lib/mysql',
        optionFile: '/etc/redoubt/backup-user.cnf',
        control: { kind: 'systemd', unit: 'mariadb' },
      },
      hosts: [{ instance: host.instance, role: host.role, agentDirectory: agentDirectoryOf(host) }],
    }),
  );

console.log(`
A control plane runs at ${controlPlane.cloud.endpoint}; this machine is its host ${host.instance}.
In another shell:

  . ${shown(environmentFile)}
  $EDITOR ${shown(clusterFile)}        # your server's socket, data directory and option file
  ./cli/redoubt cluster apply -f ${shown(clusterFile)}
  ./cli/redoubt backup ${options.cluster} --wait

The AWS command line and SDKs work too. Bytes, catalog and logs are in ${shown(stateDirectory)}. Ctrl-C ends it.`);
