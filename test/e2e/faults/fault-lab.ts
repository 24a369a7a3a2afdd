import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import S3Object from '@20minutes/s3rver/lib/models/object.js';
import { KMSClient, ListGrantsCommand } from '@aws-sdk/client-kms';
import { ListMultipartUploadsCommand, paginateListObjectsV2, S3Client } from '@aws-sdk/client-s3';
import { stringify } from 'yaml';
import { z } from 'zod';
import { processStart } from '#agent/control/process-start.ts';
import { type ControlPlane, findControlPlane } from '#cli/control-plane.ts';
import { processContext, runCli } from '#cli/run-cli.ts';
import type { BackupRecord } from '#core/catalog-records.ts';
import { type ErrorCode, errorKind, isErrorCode } from '#core/errors.ts';
import { clusterIdSchema, type RunId, runIdSchema } from '#core/ids.ts';
import { isManifestKey } from '#core/object-keys.ts';
import { isEnded } from '#core/run-transitions.ts';
import { tombstoneTime } from '#core/tombstone.ts';
import { catalogTable } from '#functions/adapters/catalog-table.ts';
import { dynamodbLeases } from '#functions/adapters/dynamodb-leases.ts';
import { ObjectStore } from '#local/cloud/s3/object-store.ts';
import { agentDirectoryOf, type LocalControlPlane, type LocalHost, startControlPlane } from '#local/control-plane.ts';
import { DatabaseHost } from '#local/demo/database-host.ts';

export const cluster = clusterIdSchema.parse('shop');

/** The least that a deployment may choose: a silent host is given up after so long. */
const heartbeatSeconds = 30;

/** A run that ended with an error, as the operator, Step Functions and the catalog know it: they agreed, or this would not be here. */
export interface FailedRun {
  readonly run: RunId;
  /** `aborted`: somebody ended the execution. `refused`: another run was at work. */
  readonly state: 'failed' | 'aborted' | 'refused';
  readonly code: ErrorCode;
  readonly detail: string;
}

/** What a run may have left behind; everything in it is a defect. */
export interface Leftovers {
  readonly leaseOf: string | undefined;
  readonly openRuns: readonly string[];
  readonly uploads: readonly string[];
  /** Objects below a backup's prefix that has no manifest. */
  readonly orphans: readonly string[];
  /** Manifests that the catalog does not have. */
  readonly unrecorded: readonly string[];
  readonly grants: readonly string[];
  /** Command lines of agents and engines. */
  readonly processes: readonly string[];
  /** Directories for secrets whose agent is gone. */
  readonly secrets: readonly string[];
}

export const nothing: Leftovers = {
  leaseOf: undefined,
  openRuns: [],
  uploads: [],
  orphans: [],
  unrecorded: [],
  grants: [],
  processes: [],
  secrets: [],
};

export interface HeldEngine {
  reached(): Promise<void>;
  release(): void;
}

/** What a command printed. */
export interface Said {
  readonly exit: number;
  readonly out: string;
  readonly err: readonly string[];
}

const manifestName = 'manifest.json';

export const until = async (what: string, holds: () => boolean | Promise<boolean>, seconds = 60): Promise<void> => {
  for (const deadline = Date.now() + seconds * 1000; !(await holds()); await sleep(20)) {
    if (Date.now() > deadline) throw new Error(`it did not come to this: ${what}`);
  }
};

/** The cluster file of the lab, as far as tests change it. */
interface ClusterFile {
  engineDirectory?: string;
  readonly server: { socket: string; dataDirectory: string; optionFile: string };
  readonly hosts: { instance: string; agentDirectory: string }[];
  readonly policy: { maxIncrements: number; maxIncrementsRatio: number; alertAfterHours?: number };
}

/** A control plane and a database host with one cluster, to do bad things to. */
export class FaultLab {
  readonly directory = mkdtempSync(join(tmpdir(), 'redoubt-faults-'));
  /** Of its own: the agent allows one run per cluster and host of a machine, and other tests run on this one. */
  readonly host: LocalHost = {
    instance: `i-0${randomBytes(8).toString('hex')}`,
    role: 'arn:aws:iam::000000000000:role/shop-database',
    cluster,
    directory: join(this.directory, 'host', 'ssm'),
  };
  readonly #stack = new AsyncDisposableStack();
  #tables = 0;
  controlPlane!: LocalControlPlane;
  api!: ControlPlane;
  server!: DatabaseHost;
  /** The operator's. */
  s3!: S3Client;

  private constructor() {}

  /** With the cluster applied, and no backup yet. */
  static async create(): Promise<FaultLab> {
    const lab = new FaultLab();
    try {
      await lab.#start();
      return lab;
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#stack.disposeAsync();
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #start(): Promise<void> {
    const [controlPlane, server] = await Promise.all([
      this.#owned(
        startControlPlane({
          stateDirectory: join(this.directory, 'state'),
          hosts: [this.host],
          heartbeatSeconds,
          // What is waited for here in minutes is no subject of these tests.
          millisecondsPerRetrySecond: 20,
        }),
      ),
      this.#owned(DatabaseHost.create(join(this.directory, 'host'))),
    ]);
    this.controlPlane = controlPlane;
    this.server = server;
    mkdirSync(this.scratch);
    this.registerHost();
    // From here on every AWS client of this process talks to it, the command's among them.
    Object.assign(process.env, controlPlane.environment);
    this.api = await findControlPlane({ name: controlPlane.name });
    this.s3 = new S3Client({ forcePathStyle: true });
    await this.apply();
  }

  /** Closed with the lab, also where it starts only after something beside it has failed. */
  #owned<T extends { close(): Promise<void> }>(starting: Promise<T>): Promise<T> {
    this.#stack.defer(() =>
      starting.then(
        (part) => part.close(),
        () => undefined,
      ),
    );
    return starting;
  }

  /** Where agents put what engines want on disk. */
  get scratch(): string {
    return join(this.directory, 'tmp');
  }

  get bucket(): string {
    return this.controlPlane.address.bucket;
  }

  registerHost(instance = this.host.instance): void {
    this.controlPlane.ssm.register({
      instanceId: instance,
      roleArn: this.host.role,
      directory: this.host.directory,
      environment: { TMPDIR: this.scratch },
      online: true,
    });
  }

  /** Applies the cluster file, changed by `change`; without it, as it should be. */
  async apply(change: (file: ClusterFile) => void = () => undefined): Promise<void> {
    const { server, host } = this;
    const file = {
      cluster,
      engine: 'mariadb-backup',
      server: {
        socket: server.socket,
        dataDirectory: server.dataDirectory,
        optionFile: server.optionFile,
        owner: server.owner,
        control: { kind: 'command', start: [server.control, 'start'], stop: [server.control, 'stop'] },
      },
      hosts: [{ instance: host.instance, role: host.role, agentDirectory: agentDirectoryOf(host) }],
      // Increments only, unless something else than the policy asks for a full.
      policy: { maxIncrements: 500, maxIncrementsRatio: 100 },
    };
    change(file);
    const said = await this.redoubt('cluster', 'apply', '-f', this.write('shop.yaml', stringify(file)));
    if (said.exit !== 0) throw new Error(said.err.join('\n'));
  }

  /**
   * Applies a cluster file whose engine stops before it begins when it is called with `option`, until it is let go. That lasts until
   * another file is applied.
   */
  async holdEngine(option: '--backup' | '--prepare'): Promise<HeldEngine> {
    const engineDirectory = mkdtempSync(join(this.directory, 'engine-'));
    const [held, go] = [join(engineDirectory, 'held'), join(engineDirectory, 'go')];
    const script = `#!/bin/sh
case " $* " in
  *" ${option} "*) : >'${held}'; while [ ! -e '${go}' ]; do sleep 0.05; done ;;
esac
exec mariadb-backup "$@"
`;
    writeFileSync(join(engineDirectory, 'mariadb-backup'), script, { mode: 0o755 });
    writeFileSync(join(engineDirectory, 'mbstream'), '#!/bin/sh\nexec mbstream "$@"\n', { mode: 0o755 });
    await this.apply((file) => {
      file.engineDirectory = engineDirectory;
    });
    return {
      reached: () => until(`the engine is called with ${option}`, () => existsSync(held)),
      release: () => writeFileSync(go, ''),
    };
  }

  /** Writes a file of the operator's; its path. */
  write(name: string, text: string): string {
    const path = join(this.directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  /** Runs a command line of the operator's. */
  async redoubt(...words: readonly string[]): Promise<Said> {
    const out: string[] = [];
    const err: string[] = [];
    const exit = await runCli(words, {
      ...processContext(),
      // A second between two looks would be most of what these tests take.
      sleep: (milliseconds) => sleep(milliseconds / 10),
      terminal: {
        isTty: false,
        columns: 120,
        out: (text) => void out.push(text),
        err: (text) => void err.push(text),
        status: () => undefined,
      },
    });
    return { exit, out: out.join('\n'), err };
  }

  /** Takes a backup of a server that has changed since the last one. Throws where it fails. */
  async backUp(...options: readonly string[]): Promise<BackupRecord> {
    await this.change();
    const run = await this.begin('backup', cluster, ...options);
    await this.succeeds(run);
    const { backups } = await this.api.ask({ query: 'backups', cluster });
    const taken = backups.find((backup) => backup.run === run);
    if (taken === undefined) throw new Error(`${run} has no backup in the catalog`);
    return taken;
  }

  /** Makes the next increment hold something. */
  async change(): Promise<void> {
    this.#tables += 1;
    await this.sql(
      'CREATE DATABASE IF NOT EXISTS shop',
      'USE shop',
      `CREATE TABLE t${this.#tables} (id INT PRIMARY KEY, v BLOB)`,
      `INSERT INTO t${this.#tables} SELECT seq, RANDOM_BYTES(1000) FROM seq_1_to_200`,
    );
  }

  async sql(...statements: readonly string[]): Promise<void> {
    const connection = await this.server.connect();
    try {
      for (const statement of statements) await connection.query(statement);
    } finally {
      await connection.end();
    }
  }

  /** Starts a run and does not wait for it. */
  async begin(...words: readonly string[]): Promise<RunId> {
    const { exit, out, err } = await this.redoubt(...words, '--json');
    if (exit !== 0) throw new Error(err.join('\n'));
    return runIdSchema.parse(JSON.parse(out).run);
  }

  async succeeds(run: RunId): Promise<void> {
    const { exit, err } = await this.redoubt('watch', run);
    if (exit !== 0) throw new Error(`${run} failed: ${err.join('\n')}`);
  }

  /**
   * Waits for a run that must fail. The command's exit code and words, the execution's error and the run's record have to name the
   * same error; throws where they do not.
   */
  async fails(run: RunId): Promise<FailedRun> {
    const { exit, err, out } = await this.redoubt('watch', run);
    const [, code = '', detail = '', hint] = /^error: (\w+): ([\s\S]*)\nhint: (.*)$/.exec(err.at(-1) ?? '') ?? [];
    if (!isErrorCode(code)) throw new Error(`${run} did not fail: ${out}${err.join('\n')}`);
    const kind = errorKind(code);
    if (exit !== kind.exit || hint !== kind.hint) throw new Error(`${code} ended the command with ${exit}: ${hint}`);
    // An execution that was stopped is settled by the event of its end.
    await until(`${run} is settled`, async () => (await this.#record(run))?.endedAt !== undefined);
    const record = await this.#record(run);
    const state = z.enum(['failed', 'aborted', 'refused']).safeParse(record?.state);
    if (record?.error !== code || !state.success)
      throw new Error(`${run} failed with ${code}, but its record says ${record?.state}, ${record?.error}`);
    return { run, state: state.data, code, detail };
  }

  async #record(run: RunId) {
    return (await this.api.ask({ query: 'run', run })).run;
  }

  /** Agents at work, by their process. */
  agents(): readonly number[] {
    return this.#processes().flatMap(({ pid, argv }) =>
      argv[0]?.endsWith('/redoubt-agent') && argv[1] === 'run' ? [pid] : [],
    );
  }

  /** The one agent at work, once there is one. */
  async agent(): Promise<number> {
    await until('an agent works', () => this.agents().length > 0);
    const [pid = 0] = this.agents();
    return pid;
  }

  /** What is left of runs that have ended, once that no longer changes for the better. */
  async leftovers(): Promise<Leftovers> {
    for (const deadline = Date.now() + 20_000; ; await sleep(100)) {
      const found = await this.#leftovers();
      if (JSON.stringify(found) === JSON.stringify(nothing) || Date.now() > deadline) return found;
    }
  }

  async #leftovers(): Promise<Leftovers> {
    const lease = await dynamodbLeases(catalogTable(this.controlPlane.address.table)).get(cluster);
    const { runs } = await this.api.ask({ query: 'runs', cluster, limit: 100 });
    const keys = await this.keys('clusters/');
    const committed = this.#committed(keys).map((key) => key.slice(0, -manifestName.length));
    return {
      leaseOf: lease?.held ? lease.run : undefined,
      openRuns: runs.filter(({ state }) => !isEnded(state)).map(({ run }) => run),
      uploads: await this.uploads(),
      orphans: keys.filter((key) => !this.#isTombstone(key) && !committed.some((prefix) => key.startsWith(prefix))),
      unrecorded: await this.unrecorded(),
      grants: await this.#grants(),
      processes: this.#processes().map(({ argv }) => argv.join(' ')),
      secrets: this.#secrets(),
    };
  }

  async unrecorded(): Promise<readonly string[]> {
    const { backups } = await this.api.ask({ query: 'backups', cluster });
    const recorded = new Set(backups.map(({ manifestKey }) => manifestKey));
    return this.#committed(await this.keys('clusters/')).filter((key) => !recorded.has(key));
  }

  #isTombstone(key: string): boolean {
    return isManifestKey(key) && tombstoneTime(this.readStored(key).toString('utf8')) !== undefined;
  }

  #committed(keys: readonly string[]): readonly string[] {
    return keys.filter((key) => isManifestKey(key) && !this.#isTombstone(key));
  }

  async keys(prefix: string): Promise<readonly string[]> {
    const keys: string[] = [];
    for await (const page of paginateListObjectsV2({ client: this.s3 }, { Bucket: this.bucket, Prefix: prefix }))
      keys.push(...(page.Contents ?? []).map(({ Key = '' }) => Key));
    return keys;
  }

  // Objects as they lie in the store: the bucket's own policy lets nobody of the account overwrite or remove them.

  readStored(key: string): Buffer {
    return readFileSync(this.#stored().getResourcePath(this.bucket, key, 'object'));
  }

  async writeStored(key: string, content: Buffer): Promise<void> {
    await this.#stored().putObject(new S3Object(this.bucket, key, content, {}));
  }

  async removeStored(key: string): Promise<void> {
    await this.#stored().deleteObject(this.bucket, key);
  }

  #stored(): ObjectStore {
    return new ObjectStore(join(this.directory, 'state', 's3'));
  }

  async uploads(): Promise<readonly string[]> {
    const { Uploads = [] } = await this.s3.send(new ListMultipartUploadsCommand({ Bucket: this.bucket }));
    return Uploads.map(({ Key = '' }) => Key);
  }

  async #grants(): Promise<readonly string[]> {
    const KeyId = this.controlPlane.cloud.find('AWS::KMS::Key').name;
    const { Grants = [] } = await new KMSClient({}).send(new ListGrantsCommand({ KeyId }));
    return Grants.map(({ Name = '' }) => Name);
  }

  /** Everything that runs for this lab, but its server. */
  #processes(): readonly { readonly pid: number; readonly argv: readonly string[] }[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid && Number(name) !== this.server.pid)
      .flatMap((name) => {
        try {
          const argv = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').filter(Boolean);
          return argv.some((word) => word.includes(this.directory)) ? [{ pid: Number(name), argv }] : [];
        } catch {
          return [];
        }
      });
  }

  #secrets(): readonly string[] {
    return ['/dev/shm', '/run'].flatMap((place) =>
      readdirSync(place).flatMap((entry) => {
        const [, pid, start] = /^redoubt-(\d+)-(\d+)-/.exec(entry) ?? [];
        return pid !== undefined && processStart(Number(pid)) !== start ? [join(place, entry)] : [];
      }),
    );
  }
}
