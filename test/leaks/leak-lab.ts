import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DynamoDBClient, paginateScan } from '@aws-sdk/client-dynamodb';
import { DecryptCommand, KMSClient } from '@aws-sdk/client-kms';
import { GetObjectCommand, paginateListObjectsV2, S3Client } from '@aws-sdk/client-s3';
import {
  GetExecutionHistoryCommand,
  ListExecutionsCommand,
  ListStateMachinesCommand,
  SFNClient,
} from '@aws-sdk/client-sfn';
import {
  GetCommandInvocationCommand,
  ListCommandInvocationsCommand,
  ListCommandsCommand,
  SSMClient,
} from '@aws-sdk/client-ssm';
import { stringify } from 'yaml';
import { processContext, runCli } from '#cli/run-cli.ts';
import { type Manifest, manifestSchema } from '#core/manifest.ts';
import { tombstoneTime } from '#core/tombstone.ts';
import { type KeyPurpose, wrappedKeysOf } from '#core/wrapped-key.ts';
import { accountId, region } from '#local/cloud/principals.ts';
import { agentDirectoryOf, type LocalControlPlane, type LocalHost, startControlPlane } from '#local/control-plane.ts';
import { LeakWatch } from './leak-watch.ts';
import { needlesOf, type Secret } from './needles.ts';
import { openBackup } from './open-backup.ts';
import { inPlaces, type Place } from './place.ts';
import { filesBelow, searchFiles } from './search-files.ts';

export interface LeakLabOptions {
  /** Everything that is written for the test lies here. */
  readonly directory: string;
  readonly cluster: string;
  readonly instance: string;
  /** The operator's own secrets, and nothing else. */
  readonly exempt: readonly string[];
}

const say = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

const recordIn = (records: string): string =>
  `{ tr '\\0' '\\n' <"/proc/$$/cmdline"; tr '\\0' '\\n' <"/proc/$$/environ"; cat "/proc/$$/limits" "/proc/$$/coredump_filter"; } >'${records}'"/$$"`;

/** A control plane on this machine with one cluster, and everything of it that somebody could read. */
export class LeakLab {
  readonly directory: string;
  readonly cluster: string;
  readonly instance: string;
  readonly controlPlane: LocalControlPlane;
  /** What the command said. */
  readonly said: string[] = [];
  readonly #exempt: ReadonlySet<string>;
  readonly #host: LocalHost;
  /** What was there before the first run has nothing of a run in it. */
  readonly #since = Date.now();
  readonly #environmentBefore = { ...process.env };

  private constructor(options: LeakLabOptions, host: LocalHost, controlPlane: LocalControlPlane) {
    this.directory = options.directory;
    this.cluster = options.cluster;
    this.instance = options.instance;
    this.#exempt = new Set(options.exempt);
    this.#host = host;
    this.controlPlane = controlPlane;
    for (const path of [this.scratch, this.#records]) mkdirSync(path);
    controlPlane.ssm.register({
      instanceId: host.instance,
      roleArn: host.role,
      directory: host.directory,
      environment: { TMPDIR: this.scratch },
      online: true,
    });
    // From here on every AWS client of this process is the operator's, the command's among them.
    Object.assign(process.env, controlPlane.environment);
  }

  static async create(options: LeakLabOptions): Promise<LeakLab> {
    const { directory, cluster, instance } = options;
    const role = `arn:aws:iam::${accountId}:role/${cluster}-database`;
    const host = { instance, role, cluster, directory: join(directory, 'host') };
    mkdirSync(host.directory);
    return new LeakLab(
      options,
      host,
      await startControlPlane({ stateDirectory: join(directory, 'state'), hosts: [host] }),
    );
  }

  async close(): Promise<void> {
    await this.controlPlane.close();
    for (const name of Object.keys(this.controlPlane.environment)) delete process.env[name];
    Object.assign(process.env, this.#environmentBefore);
  }

  /** Where the agent puts what engines want on disk. */
  get scratch(): string {
    return join(this.directory, 'tmp');
  }

  get #records(): string {
    return join(this.directory, 'records');
  }

  /** For an engine's start script: writes down arguments, environment and limits. The records are searched as any other file. */
  get recordingLine(): string {
    return recordIn(this.#records);
  }

  /** What the engine was given, each time it was started. */
  records(): readonly string[] {
    return readdirSync(this.#records).map((name) => readFileSync(join(this.#records, name), 'utf8'));
  }

  /** Applies the cluster file with `settings` in it. */
  async apply(settings: object): Promise<void> {
    const { cluster, instance } = this;
    const hosts = [{ instance, role: this.#host.role, agentDirectory: agentDirectoryOf(this.#host) }];
    const file = join(this.directory, 'cluster.yaml');
    // Increments only, unless something else than the policy asks for a full.
    writeFileSync(file, stringify({ cluster, hosts, policy: { maxIncrementsRatio: 100 }, ...settings }));
    await this.redoubt('cluster', 'apply', '-f', file);
  }

  /** Runs the command; what it said. Throws where it fails. */
  async redoubt(...words: string[]): Promise<string> {
    const from = this.said.length;
    const hear = (text: string): void => void this.said.push(text);
    const terminal = { ...processContext().terminal, out: hear, err: hear };
    const exit = await runCli(words, { ...processContext(), terminal });
    const text = this.said.slice(from).join('\n');
    if (exit !== 0) throw new Error(`redoubt ${words.join(' ')} ended with ${exit}:\n${text}`);
    return text;
  }

  /** Watches processes, and everything below the directory but the server's own data. */
  watch(secrets: readonly Secret[], dataDirectory: string): Promise<LeakWatch> {
    return LeakWatch.start({ directories: [this.directory], except: [...this.#exempt, dataDirectory], secrets });
  }

  async manifests(): Promise<readonly Manifest[]> {
    const keys = (await this.#keys('clusters/')).filter((key) => key.endsWith('/manifest.json')).sort();
    const texts = await Promise.all(keys.map(async (key) => (await this.#read(key)).toString('utf8')));
    return texts
      .filter((text) => tombstoneTime(text) === undefined)
      .map((text) => manifestSchema.parse(JSON.parse(text)));
  }

  /** The keys of a backup's chain, as only the agent ever sees them. */
  async keysOf(manifest: Manifest | undefined): Promise<Readonly<Partial<Record<KeyPurpose, Buffer>>>> {
    if (manifest === undefined || 'shredded' in manifest.keys) throw new Error('there is no manifest with keys');
    const { endpoint, principals } = this.controlPlane.cloud;
    const root = principals.credentialsFor(`arn:aws:iam::${accountId}:root`);
    const kms = new KMSClient({ endpoint, region, credentials: root });
    const opened = wrappedKeysOf(manifest.keys).map(async ({ kmsKey, ciphertext, context }) => {
      const { Plaintext = [] } = await kms.send(
        new DecryptCommand({
          KeyId: kmsKey,
          CiphertextBlob: Buffer.from(ciphertext, 'base64'),
          EncryptionContext: { ...context },
        }),
      );
      return [context.purpose, Buffer.from(Plaintext)] as const;
    });
    return Object.fromEntries(await Promise.all(opened));
  }

  /** What lies sealed in the bucket, opened. */
  async opened(): Promise<readonly Place[]> {
    const opened = (await this.manifests()).map(async (manifest) =>
      openBackup(manifest, await this.keysOf(manifest), (key) => this.#read(key)),
    );
    return (await Promise.all(opened)).flat();
  }

  /** What is read of the control plane by its interfaces: histories, commands with their outputs, the catalog; and what the command said. */
  async shown(): Promise<readonly Place[]> {
    return [
      { name: 'what the command said', content: Buffer.from(this.said.join('\n')) },
      ...(await this.histories()),
      ...(await commands()),
      ...(await this.#catalog()),
    ];
  }

  async histories(): Promise<readonly Place[]> {
    const client = new SFNClient({});
    const places: Place[] = [];
    for (const { stateMachineArn } of (await client.send(new ListStateMachinesCommand({}))).stateMachines ?? [])
      for (const { executionArn } of (await client.send(new ListExecutionsCommand({ stateMachineArn }))).executions ??
        []) {
        const history = await client.send(new GetExecutionHistoryCommand({ executionArn, maxResults: 1000 }));
        places.push({ name: `history of ${executionArn}`, content: say(history.events) });
      }
    return places;
  }

  async #catalog(): Promise<readonly Place[]> {
    const places: Place[] = [];
    const { table } = this.controlPlane.address;
    for await (const { Items = [] } of paginateScan({ client: new DynamoDBClient({}) }, { TableName: table }))
      places.push(...Items.map((item) => ({ name: `item of ${table}`, content: say(item) })));
    return places;
  }

  /** Which secrets lie in which file that was written since. */
  inFiles(secrets: readonly Secret[]): readonly string[] {
    const written = filesBelow(this.directory, this.#exempt).filter((path) => statSync(path).ctimeMs >= this.#since);
    return searchFiles(written, needlesOf(secrets));
  }

  /** Where the tokens of the runs are found besides where they have to be; and where they have to be and are not, so the search is at fault. */
  async strayTokens(shown: readonly Place[]): Promise<readonly string[]> {
    const tokens = await this.tokens();
    const found = [...this.inFiles(tokens), ...inPlaces(shown, tokens)];
    return [
      ...found.filter((one) => !TOKENS_BELONG.some((place) => place.test(one))),
      ...TOKENS_BELONG.filter((place) => !found.some((one) => place.test(one))).map((place) => `none like ${place}`),
    ];
  }

  /** The tokens of the runs: whoever has one may answer for the host, or use its grant as the host. */
  async tokens(): Promise<readonly Secret[]> {
    const keys = (await this.#keys('runs/')).filter((key) => /instruction-\d+\.json$/.test(key));
    const instructions = await Promise.all(keys.map((key) => this.#read(key)));
    return instructions.flatMap((text) => {
      const { taskToken, keys: lent } = JSON.parse(text.toString('utf8'));
      return [
        { name: 'a task token', bytes: Buffer.from(taskToken) },
        { name: 'a grant token', bytes: Buffer.from(lent.grantToken) },
      ];
    });
  }

  async #keys(prefix: string): Promise<readonly string[]> {
    const keys: string[] = [];
    const { bucket } = this.controlPlane.address;
    for await (const page of paginateListObjectsV2({ client: this.#s3 }, { Bucket: bucket, Prefix: prefix }))
      keys.push(...(page.Contents ?? []).map(({ Key = '' }) => Key));
    return keys;
  }

  async #read(key: string): Promise<Buffer> {
    const { Body } = await this.#s3.send(new GetObjectCommand({ Bucket: this.controlPlane.address.bucket, Key: key }));
    return Buffer.from((await Body?.transformToByteArray()) ?? []);
  }

  get #s3(): S3Client {
    return new S3Client({ forcePathStyle: true });
  }
}

/** Where a run's tokens have to be. A grant token is of use to the host's role alone, a task token until its task has ended. */
const TOKENS_BELONG: readonly RegExp[] = [
  // What the host reads.
  /\/s3\/[^/]+\/runs\/[^/]+\/[^/]+\/instruction-\d+\.json[^/]*: a (task|grant) token,/,
  // Step Functions keeps the input of every task, its token included.
  /^history of .*: a task token,/,
  /\/logs\/step-functions\/[^/]+: a task token,/,
  // So that a command that is lost can fail its task.
  /^item of .*: a task token,/,
  // What an item said before it was written anew, until the page is used again. Its items are looked at themselves.
  /\/dynamodb\/[^/]+\.db: a (task|grant) token,/,
];

const commands = async (): Promise<readonly Place[]> => {
  const client = new SSMClient({});
  const places: Place[] = [];
  for (const command of (await client.send(new ListCommandsCommand({}))).Commands ?? []) {
    const { CommandId } = command;
    const listed = await client.send(new ListCommandInvocationsCommand({ CommandId, Details: true }));
    places.push({ name: `command ${CommandId}`, content: say([command, listed.CommandInvocations]) });
    for (const { InstanceId, CommandPlugins = [] } of listed.CommandInvocations ?? [])
      for (const { Name: PluginName } of CommandPlugins) {
        const whole = await client.send(new GetCommandInvocationCommand({ CommandId, InstanceId, PluginName }));
        places.push({ name: `output of command ${CommandId}`, content: say(whole) });
      }
  }
  return places;
};
