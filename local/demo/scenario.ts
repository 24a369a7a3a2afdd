import { rm, writeFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetAutomationExecutionCommand, SSMClient, StartAutomationExecutionCommand } from '@aws-sdk/client-ssm';
import { type Connection, createConnection } from 'mysql2/promise';
import { stringify } from 'yaml';
import { type ControlPlane, findControlPlane } from '#cli/control-plane.ts';
import { processContext, runCli } from '#cli/run-cli.ts';
import { watchRun } from '#cli/watch-run.ts';
import type { CatalogAnswer } from '#core/catalog-queries.ts';
import { clusterIdSchema, type RunId } from '#core/ids.ts';
import { agentDirectoryOf, type LocalControlPlane, type LocalHost, startControlPlane } from '../control-plane.ts';
import { DatabaseHost } from './database-host.ts';
import type { DemoDatabase } from './demo-database.ts';
import { type Comparison, compareShop, observeShop, type ShopTruth, writeCanary } from './shop-truth.ts';
import { ShopWriter } from './shop-writer.ts';
import type { Show } from './show.ts';

export interface ScenarioOptions {
  /** Everything is made below it; what an earlier run left there is removed first. */
  readonly stateDirectory: string;
  readonly database: DemoDatabase;
  readonly show: Show;
}

/** A restored server held against what was true when its backup was taken. */
export interface Restored {
  readonly what: string;
  readonly seconds: number;
  readonly comparison: Comparison;
}

export interface Outcome {
  readonly backups: CatalogAnswer<'backups'>;
  readonly runs: CatalogAnswer<'runs'>;
  readonly restores: readonly Restored[];
  /** The run that the Scheduler started. */
  readonly scheduledRun: string;
  readonly transactions: number;
  /** Where things lie, for people. */
  readonly places: Readonly<Record<string, string>>;
}

/** A command of the demo's own operator ended with an error; it has been shown. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed';
}

const cluster = clusterIdSchema.parse('shop');

const instance = 'i-0d5e8c2f4a7b91036';
const role = 'arn:aws:iam::000000000000:role/shop-database';

/** Long enough for the writer to change what an increment then holds. */
const busyMs = 2_000;
/** How far ahead the demo plans its one scheduled backup: the schedule has to be written by then. */
const scheduleAheadMs = 5_000;

interface Taken {
  readonly truth: ShopTruth;
  readonly lastTransferAtEnd: number;
}

/**
 * The main job from beginning to end: a busy server is backed up four times, once by a schedule, loses its data directory, and is
 * restored to its latest backup by the command and to an earlier one by the form of the console. What is restored is held against what
 * was true. Leaves nothing running, however it ends; `stack` does so early.
 */
export class Scenario {
  readonly #options: ScenarioOptions;
  readonly #stack = new AsyncDisposableStack();
  readonly #hostDirectory: string;
  readonly #show: Show;
  readonly #taken: Taken[] = [];

  constructor(options: ScenarioOptions) {
    this.#options = options;
    this.#show = options.show;
    this.#hostDirectory = join(options.stateDirectory, 'host');
  }

  /** Ends everything that runs. */
  async close(): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async run(): Promise<Outcome> {
    try {
      return await this.#run();
    } finally {
      await this.close();
    }
  }

  async #run(): Promise<Outcome> {
    const show = this.#show;
    const { stateDirectory, database } = this.#options;
    await rm(stateDirectory, { recursive: true, force: true });

    show.chapter('A control plane and a database host, on this machine');
    const controlPlane = await this.#startControlPlane();
    const server = await this.#startServer();
    const writer = new ShopWriter(server.socket, database.size);
    this.#stack.defer(() => writer.stop());
    await writer.start();
    show.line('a writer keeps the server busy from now on');
    const restores: Restored[] = [];
    const api = await findControlPlane({ name: controlPlane.name });

    show.chapter('Register the cluster, take a full backup');
    await this.#applyClusterFile(server);
    await this.#backUp(server, '--full --reason demo');

    show.chapter('Increments, while the shop goes on');
    await this.#change(server, 'a new table, shop.reviews', database.newTable);
    await this.#backUp(server);
    await show.during('restart the server', async () => {
      await server.stop();
      await writer.stop();
      await server.start();
      await writer.start();
    });
    await sleep(busyMs);
    await this.#backUp(server);

    show.chapter('A backup that nobody starts by hand');
    await this.#change(server, 'a table dropped, another one altered', database.dropAndAlter);
    const scheduledRun = await this.#scheduledBackUp(server, api);

    show.chapter('The disaster');
    const lost = server.keyring === undefined ? 'data directory' : 'data directory and its keyring';
    await show.during(`kill -9 the server, rm -r its ${lost}`, async () => {
      await server.kill();
      await writer.stop();
      await server.destroyData();
    });
    const transactions = writer.committed;

    show.chapter('Restore the latest backup in its place, by the command');
    const last = this.#taken.length - 1;
    const seconds = await this.#timed(() =>
      this.#redoubt(`restore ${cluster} --to latest --instance ${instance} --mode replace --confirm ${cluster} --wait`),
    );
    const connection = await server.connect();
    restores.push(await this.#compare(`the latest backup (${last})`, seconds, connection, last));
    await connection.end();
    await writer.start();
    show.line('the writer goes on where the restored server ends');

    show.chapter('Restore an earlier increment beside it, by the form of the Systems Manager console');
    restores.push(await this.#restoreByForm(server, controlPlane, api, 1));
    await writer.stop();

    show.chapter('What is there now');
    await this.#redoubt(`backups ${cluster}`);
    await this.#redoubt(`runs ${cluster}`);
    return {
      backups: await api.ask({ query: 'backups', cluster }),
      runs: await api.ask({ query: 'runs', cluster, limit: 50 }),
      restores,
      scheduledRun,
      transactions,
      places: {
        'bytes of the backups': join(stateDirectory, 's3', controlPlane.address.bucket),
        'the catalog': `${join(stateDirectory, 'dynamodb')} (table ${controlPlane.address.table})`,
        'logs of the control plane': controlPlane.cloud.logDirectory,
        'the host, its server and agent': this.#hostDirectory,
      },
    };
  }

  get #host(): LocalHost {
    const { environment = {} } = this.#options.database.programs;
    return { instance, role, cluster, directory: join(this.#hostDirectory, 'ssm'), environment };
  }

  #startControlPlane(): Promise<LocalControlPlane> {
    const { stateDirectory } = this.#options;
    return this.#show.during(
      'deploy the control plane, install the agent through Systems Manager',
      async (progress) => {
        const controlPlane = await startControlPlane({ stateDirectory, hosts: [this.#host], onProgress: progress });
        this.#stack.defer(() => controlPlane.close());
        // From here on every AWS client of this process, the command's too, talks to it.
        Object.assign(process.env, controlPlane.environment);
        return controlPlane;
      },
    );
  }

  #startServer(): Promise<DatabaseHost> {
    const { database } = this.#options;
    const program = basename(database.programs.server);
    return this.#show.during(`start ${program} and fill three schemas`, async (progress) => {
      const server = await DatabaseHost.create(this.#hostDirectory, database.programs);
      this.#stack.defer(() => server.close());
      const connection = await server.connect();
      await database.load(connection, (fraction) => progress(`${Math.round(fraction * 100)} %`));
      await connection.end();
      return server;
    });
  }

  /** `schedule` as the policy of the file says it. */
  async #applyClusterFile(server: DatabaseHost, schedule?: string): Promise<void> {
    const file = join(this.#options.stateDirectory, 'shop.yaml');
    const text = stringify({
      cluster,
      ...this.#options.database.clusterFile(server),
      server: {
        socket: server.socket,
        dataDirectory: server.dataDirectory,
        optionFile: server.optionFile,
        owner: server.owner,
        control: { kind: 'command', start: [server.control, 'start'], stop: [server.control, 'stop'] },
      },
      hosts: [{ instance, role, agentDirectory: agentDirectoryOf(this.#host) }],
      policy: {
        ...(schedule && { schedule }),
        // The shop is small for how busy it is: by the default its third increment would be a full.
        maxIncrementsRatio: 10,
      },
    });
    await writeFile(file, text);
    await this.#redoubt(`cluster apply -f ${relative(process.cwd(), file)}`);
  }

  /** Runs a command line of the operator's; throws where it fails. */
  async #redoubt(line: string): Promise<void> {
    this.#show.command(`redoubt ${line}`);
    const exit = await runCli(line.split(' ').filter(Boolean), {
      ...processContext(),
      terminal: this.#show.terminal,
    });
    if (exit !== 0) throw new CommandFailed(`redoubt ${line} ended with ${exit}`);
  }

  async #timed(work: () => Promise<void>): Promise<number> {
    const startedAt = performance.now();
    await work();
    return (performance.now() - startedAt) / 1000;
  }

  async #change(server: DatabaseHost, what: string, statements: readonly string[]): Promise<void> {
    const connection = await server.connect();
    await connection.query('USE shop');
    for (const statement of statements) await connection.query(statement);
    await connection.end();
    this.#show.line(`in the meantime: ${what}`);
    await sleep(busyMs);
  }

  /** Notes what is true, lets `work` take a backup, and notes how far the writer had come by then. */
  async #noting(server: DatabaseHost, work: () => Promise<void>): Promise<void> {
    const connection = await server.connect();
    await writeCanary(connection, `before backup ${this.#taken.length}`);
    const truth = await observeShop(connection);
    await work();
    const { lastTransfer } = await observeShop(connection);
    this.#taken.push({ truth, lastTransferAtEnd: lastTransfer });
    await connection.end();
  }

  #backUp(server: DatabaseHost, options = ''): Promise<void> {
    return this.#noting(server, () => this.#redoubt(['backup', cluster, options, '--wait'].filter(Boolean).join(' ')));
  }

  /** Answers the run that the Scheduler started. */
  async #scheduledBackUp(server: DatabaseHost, api: ControlPlane): Promise<string> {
    let scheduled: string | undefined;
    await this.#noting(server, async () => {
      const known = await this.#knownRuns(api);
      const at = new Date(Date.now() + scheduleAheadMs).toISOString().slice(0, 19);
      await this.#applyClusterFile(server, `at(${at})`);
      const run = await this.#show.during(
        `wait for EventBridge Scheduler to start a backup, at ${at.slice(11)} UTC`,
        () => this.#newRun(api, known),
      );
      this.#show.line(`it started ${run}`);
      scheduled = run;
      await this.#redoubt(`watch ${run}`);
    });
    if (scheduled === undefined) throw new Error('no backup was scheduled');
    return scheduled;
  }

  async #knownRuns(api: ControlPlane): Promise<ReadonlySet<RunId>> {
    const { runs } = await api.ask({ query: 'runs', cluster, limit: 50 });
    return new Set(runs.map(({ run }) => run));
  }

  /** Waits for a run that was not known before. */
  async #newRun(api: ControlPlane, known: ReadonlySet<RunId>): Promise<RunId> {
    const deadline = Date.now() + 60_000;
    while (Date.now() < deadline) {
      const run = [...(await this.#knownRuns(api))].find((one) => !known.has(one));
      if (run !== undefined) return run;
      await sleep(300);
    }
    throw new Error('no run began within a minute');
  }

  /** Holds a server against backup number `index`, and says what was found. */
  async #compare(what: string, seconds: number, connection: Connection, index: number): Promise<Restored> {
    const taken = this.#taken[index];
    if (taken === undefined) throw new Error(`there is no backup ${index}`);
    const comparison = await this.#show.during('compare the restored server with what was true at that backup', () =>
      compareShop(connection, taken.truth, taken.lastTransferAtEnd),
    );
    for (const held of comparison.held) this.#show.line(`  ✓ ${held}`);
    for (const wrong of comparison.wrong) this.#show.line(`  ✗ ${wrong}`);
    return { what, seconds, comparison };
  }

  /** Starts the Automation runbook as the form in the console does, with backup number `index` into a second directory. */
  async #restoreByForm(
    server: DatabaseHost,
    controlPlane: LocalControlPlane,
    api: ControlPlane,
    index: number,
  ): Promise<Restored> {
    const show = this.#show;
    const { backups } = await api.ask({ query: 'backups', cluster });
    const backup = backups.find(({ seq }) => seq === index)?.backup ?? '';
    const directory = join(this.#hostDirectory, 'second');
    const parameters = {
      Cluster: cluster,
      Backup: backup,
      Instance: instance,
      Mode: 'prepare-only',
      Directory: directory,
    };
    const form = controlPlane.address.documents.restore;
    show.line(
      `the form ${form}: ${Object.entries(parameters)
        .map(([name, value]) => `${name} ${value}`)
        .join(', ')}`,
    );

    const ssm = new SSMClient({});
    const known = await this.#knownRuns(api);
    const seconds = await this.#timed(async () => {
      const { AutomationExecutionId } = await ssm.send(
        new StartAutomationExecutionCommand({
          DocumentName: form,
          Parameters: Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, [value]])),
        }),
      );
      const run = await this.#newRun(api, known);
      await watchRun({
        context: { ...processContext(), terminal: show.terminal },
        controlPlane: api,
        run,
        execution: api.executionOf('restore', run),
        quiet: false,
      });
      for (;;) {
        const { AutomationExecution } = await ssm.send(new GetAutomationExecutionCommand({ AutomationExecutionId }));
        const { AutomationExecutionStatus: status, FailureMessage: message } = AutomationExecution ?? {};
        if (status === 'Success') return;
        if (status !== 'Pending' && status !== 'InProgress' && status !== 'Waiting')
          throw new Error(`the form ended ${status}: ${message}`);
        await sleep(200);
      }
    });
    await using second = await this.#options.database.startSecond(server, directory);
    show.line(`a second server runs on ${directory}`);
    const connection = await createConnection({ socketPath: second.socket, user: 'root' });
    const restored = await this.#compare(`increment ${index}`, seconds, connection, index);
    await connection.end();
    return restored;
  }
}
