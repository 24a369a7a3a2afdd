import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { stringify } from 'yaml';
import { type ControlPlane, findControlPlane } from '#cli/control-plane.ts';
import { processContext, runCli } from '#cli/run-cli.ts';
import type { ClusterId } from '#core/ids.ts';
import { agentDirectoryOf, type LocalControlPlane, type LocalHost, startControlPlane } from '#local/control-plane.ts';
import { PLUGIN_DIRECTORY } from '#local/mariadb/start-mariadb.ts';
import { commandsOf } from '#test/docs/restore-by-hand-page.ts';

const owner = userInfo().username;

const redoubt = async (...words: readonly string[]): Promise<void> => {
  const said: string[] = [];
  const keep = (text: string): void => void said.push(text);
  const exit = await runCli(words, {
    ...processContext(),
    terminal: { isTty: false, columns: 120, out: keep, err: keep, status: () => undefined },
  });
  if (exit !== 0) throw new Error(`redoubt ${words.join(' ')} ended with ${exit}:\n${said.join('\n')}`);
};

interface ServerOf {
  readonly socket: string;
  readonly dataDirectory: string;
  readonly optionFile: string;
}

interface ByHand {
  readonly engine: 'MariaDB' | 'XtraBackup';
  readonly cluster: ClusterId;
  /** `latest` unless given. */
  readonly backup?: string;
  /** The text of the option file the restored server is to have, which names this keyring. */
  readonly serverOptions: (keyring: string, keyringKey: string) => string;
  readonly path?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

export interface RestoredByHand {
  readonly status: number | null;
  readonly said: string;
  readonly dataDirectory: string;
  readonly keyring: string;
  readonly keyringKey: string;
}

/** Backups are taken by the product; then there is only what docs/restore-by-hand.md prints, in bash, as it stands. */
export class ByHandLab {
  readonly directory = mkdtempSync(join(tmpdir(), 'rbh-'));
  readonly #hosts: ReadonlyMap<ClusterId, LocalHost>;
  #controlPlane!: LocalControlPlane;
  #api!: ControlPlane;
  #count = 0;

  private constructor(clusters: readonly ClusterId[]) {
    this.#hosts = new Map(
      clusters.map((cluster) => [
        cluster,
        {
          // Of its own: the agent allows one run per cluster and host of a machine, and other tests run on this one.
          instance: `i-0${randomBytes(8).toString('hex')}`,
          role: `arn:aws:iam::000000000000:role/${cluster}-database`,
          cluster,
          directory: join(this.directory, cluster),
        },
      ]),
    );
  }

  /** With a host for each cluster. */
  static async create(...clusters: readonly ClusterId[]): Promise<ByHandLab> {
    const lab = new ByHandLab(clusters);
    const hosts = [...lab.#hosts.values()];
    lab.#controlPlane = await startControlPlane({ stateDirectory: join(lab.directory, 'state'), hosts });
    const { environment, name, cloud } = lab.#controlPlane;
    Object.assign(process.env, environment);
    lab.#api = await findControlPlane({ name });
    // The awscli of Debian does not know AWS_ENDPOINT_URL yet: this, and nothing else, is not as in production.
    mkdirSync(join(lab.directory, 'bin'));
    writeFileSync(
      join(lab.directory, 'bin/aws'),
      `#!/bin/sh\nexec /usr/bin/aws --endpoint-url '${cloud.endpoint}' "$@"\n`,
      { mode: 0o755 },
    );
    return lab;
  }

  async close(): Promise<void> {
    await this.#controlPlane.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  get bucket(): string {
    return this.#controlPlane.address.bucket;
  }

  /** A path that nothing has, short enough for a socket below it. */
  fresh(name: string): string {
    this.#count += 1;
    return join(this.directory, `${name}${this.#count}`);
  }

  async applyCluster(cluster: ClusterId, server: ServerOf, more: object): Promise<void> {
    const host = this.#hosts.get(cluster) as LocalHost;
    const file = this.fresh('cluster');
    const { socket, dataDirectory, optionFile } = server;
    writeFileSync(
      file,
      stringify({
        cluster,
        server: { socket, dataDirectory, optionFile, owner },
        hosts: [{ instance: host.instance, role: host.role, agentDirectory: agentDirectoryOf(host) }],
        policy: { maxIncrementsRatio: 100 },
        ...more,
      }),
    );
    await redoubt('cluster', 'apply', '-f', file);
  }

  /** Takes a backup; its id. */
  async backUp(cluster: ClusterId): Promise<string> {
    await redoubt('backup', cluster, '--wait');
    return (await this.#latest(cluster))?.backup ?? '';
  }

  /** Where the objects of the latest backup lie. */
  async latestPrefix(cluster: ClusterId): Promise<string> {
    return (await this.#latest(cluster))?.manifestKey.replace('manifest.json', '') ?? '';
  }

  async #latest(cluster: ClusterId) {
    const { backups } = await this.#api.ask({ query: 'backups', cluster });
    return backups.at(-1);
  }

  /** Does what the page says, with nothing but its values. */
  async restore({ engine, cluster, backup, serverOptions, path = [], environment }: ByHand): Promise<RestoredByHand> {
    const place = this.fresh('r');
    mkdirSync(place);
    const [dataDirectory, keyring, keyringKey, optionFile] = ['d', 'k/keyring', 'k/keyring.key', 'my.cnf'].map((name) =>
      join(place, name),
    ) as [string, string, string, string];
    writeFileSync(optionFile, serverOptions(keyring, keyringKey));
    const secrets = mkdtempSync('/dev/shm/by-hand-');
    const script = join(place, 'page.sh');
    writeFileSync(
      script,
      commandsOf(engine, {
        BUCKET: this.bucket,
        CLUSTER: cluster,
        BACKUP: backup ?? 'latest',
        WORK: join(place, 'work'),
        SECRETS: secrets,
        DATADIR: dataDirectory,
        OWNER: owner,
        SERVER_CNF: optionFile,
        KEYRING: keyring,
        KEYRING_KEY: keyringKey,
        PLUGIN_DIR: PLUGIN_DIRECTORY,
        MEMORY: '64M',
      }),
    );
    const { AWS_ENDPOINT_URL: _, ...credentials } = this.#controlPlane.environment;
    const shell = spawn('/bin/bash', ['-c', 'exec bash "$0" 2>&1', script], {
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
      env: {
        ...credentials,
        ...environment,
        HOME: place,
        PATH: [join(this.directory, 'bin'), ...path, '/usr/sbin', '/usr/bin', '/sbin', '/bin'].join(':'),
      },
    });
    const ended = once(shell, 'exit');
    const said = await text(shell.stdout);
    const [status] = (await ended) as [number | null];
    rmSync(secrets, { recursive: true, force: true });
    // A page that stopped half-way may leave its server running.
    spawnSync('kill', ['-KILL', '--', `-${shell.pid}`]);
    return { status, said, dataDirectory, keyring, keyringKey };
  }
}
