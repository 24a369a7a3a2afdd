import type { BackupInstruction } from '#core/agent-protocol.ts';
import { isPlanned, type Lease, type PlannedRun } from '#core/catalog-records.ts';
import type { ClusterConfig } from '#core/cluster-config.ts';
import { RedoubtError } from '#core/errors.ts';
import { type RunId, runIdSchema } from '#core/ids.ts';
import type { Manifest, StoredObject } from '#core/manifest.ts';
import type { BackupAddress } from '#core/object-keys.ts';
import type { Random } from '#core/ports/random.ts';
import { tombstoneTime } from '#core/tombstone.ts';
import { chainKeysSchema } from '#core/wrapped-key.ts';
import { askHost } from '#functions/ask-host/ask-host.ts';
import { type PlannedBackup, planBackup, plannedBackupSchema } from '#functions/plan-backup/plan-backup.ts';
import { recordBackup } from '#functions/record-backup/record-backup.ts';
import type { SettleRequest } from '#functions/settle-run/settle-request.ts';
import { settleRun } from '#functions/settle-run/settle-run.ts';
import { type FakeClock, fakeClock } from '../doubles/fake-clock.ts';
import { fakeExecutions } from '../doubles/fake-executions.ts';
import { fakeHosts } from '../doubles/fake-hosts.ts';
import { fakeKeys, OTHER_KEY } from '../doubles/fake-keys.ts';
import { fakeSchedules } from '../doubles/fake-schedules.ts';
import { inMemoryBucket } from '../doubles/in-memory-bucket.ts';
import { type Catalog, inMemoryCatalog } from '../doubles/in-memory-catalog.ts';
import { recordedLog } from '../doubles/recorded-log.ts';
import {
  type SampleBackup,
  SHOP,
  sampleBackup,
  sampleCluster,
  sampleManifest,
  sampleObjects,
} from '../doubles/sample-manifest.ts';

export const runId = (name: string): RunId => runIdSchema.parse(name);

export const executionOf = (run: string): string =>
  `arn:aws:states:us-east-1:111122223333:execution:redoubt-back-up-a-cluster:${run}`;

export const tokenOf = (run: string): string => `task-token-of-${run}`;

const countingRandom = (): Random => {
  let count = 0;
  return {
    hex: (bytes) => {
      count += 1;
      return count.toString(16).padStart(bytes * 2, '0');
    },
  };
};

/** The version of each object as S3 answered it to who sent it. */
export type SentVersions = ReadonlyMap<string, string | undefined>;

export interface ControlPlaneOptions {
  readonly config?: ClusterConfig;
  readonly catalog?: Catalog;
  readonly clock?: FakeClock;
  /** Whether the bucket keeps versions, as a deployed one does. */
  readonly versioned?: boolean;
  /** Wraps what the functions are given, to delay or break it. */
  readonly through?: <Ports extends object>(ports: Ports) => Ports;
}

/** The functions over fakes, with one cluster applied, and an agent that does as it is told. */
export const controlPlaneUnderTest = async (options: ControlPlaneOptions = {}) => {
  const clock = options.clock ?? fakeClock();
  const catalog = options.catalog ?? inMemoryCatalog(clock);
  const hosts = fakeHosts();
  const bucket = inMemoryBucket({ versioned: options.versioned ?? true });
  const through = options.through ?? (<Ports extends object>(ports: Ports) => ports);
  const deps = {
    clusters: through(catalog.clusters),
    leases: through(catalog.leases),
    chains: through(catalog.chains),
    runs: through(catalog.runs),
    hosts: through(hosts),
    commands: through<typeof hosts>(hosts),
    repository: through(bucket),
    keys: through(fakeKeys()),
    executions: through(fakeExecutions()),
    schedules: fakeSchedules(),
    clock,
    random: countingRandom(),
    log: recordedLog(),
    heartbeatSeconds: 60,
    otherKeys: [OTHER_KEY],
    backupStateMachine: 'arn:aws:states:us-east-1:111122223333:stateMachine:redoubt-back-up-a-cluster',
  };
  await catalog.clusters.put(options.config ?? sampleCluster());

  const plannedRun = async (run: string): Promise<PlannedRun> => {
    const record = await deps.runs.get(runId(run));
    if (!record || !isPlanned(record)) throw new Error(`run ${run} was not planned`);
    return record;
  };

  const plan = async (
    run: string,
    input: Partial<Parameters<typeof planBackup>[1]> = {},
  ): Promise<PlannedBackup & { readonly decoded: Omit<BackupInstruction, 'taskToken'> }> => {
    const planned = await planBackup(deps, {
      cluster: SHOP,
      kind: 'auto',
      run: runId(run),
      execution: executionOf(run),
      attempt: 1,
      ...input,
    });
    const { lent } = await plannedRun(run);
    if (!lent) throw new Error(`run ${run} was lent no keys`);
    const { keys, grantToken } = lent;
    return {
      ...planned,
      decoded: { ...plannedBackupSchema.parse(planned.instruction), keys: { ...keys, grantToken } },
    };
  };

  const ask = async (run: string, planned: PlannedBackup): Promise<void> => {
    deps.executions.waiting.add(tokenOf(run));
    await askHost(deps, {
      taskToken: tokenOf(run),
      instruction: plannedBackupSchema.parse(planned.instruction),
      agentDirectory: planned.agentDirectory,
    });
  };

  /** Puts the backup's objects and its manifest into the repository, as the agent does. */
  const commit = (instruction: Omit<BackupInstruction, 'taskToken'>, facts: Partial<Manifest> = {}): SampleBackup =>
    commitOver(instruction, upload(addressOf(instruction)), facts);

  /** Puts the manifest over objects that were sent as these versions, whatever became of them. Throws as the agent where it may not. */
  const commitOver = (
    instruction: Omit<BackupInstruction, 'taskToken'>,
    versions: SentVersions,
    facts: Partial<Manifest> = {},
  ): SampleBackup => {
    const at = addressOf(instruction);
    const { segments, inventory, engineLog } = sampleManifest(at);
    const sent = (object: StoredObject): StoredObject => {
      const version = versions.get(object.key);
      return { ...object, ...(version !== undefined && { version }) };
    };
    const backup = sampleBackup(at, {
      segments: segments.map(sent),
      inventory: sent(inventory),
      engineLog: sent(engineLog),
      ...(instruction.parent && { tip: instruction.parent }),
      run: instruction.run,
      fencingToken: instruction.fencingToken,
      host: instruction.host,
      reason: instruction.reason,
      keys: chainKeysSchema.parse(instruction.keys),
      ...encryptedAs(instruction),
      ...facts,
    });
    const there = bucket.objects.get(backup.key);
    if (there !== undefined) throw new RedoubtError(tombstoneTime(there) ? 'RunCancelled' : 'UploadFailed', backup.key);
    bucket.objects.set(backup.key, backup.text);
    return backup;
  };

  const upload = (at: BackupAddress): SentVersions => {
    const versions = new Map<string, string | undefined>();
    for (const [key, text] of sampleObjects(at)) {
      bucket.objects.set(key, text);
      versions.set(key, bucket.versionOf(key));
    }
    return versions;
  };

  const record = (run: string, backup: SampleBackup) =>
    recordBackup(deps, {
      run: runId(run),
      answer: {
        kind: 'backup',
        manifestKey: backup.key,
        manifestSha256: backup.sha256,
        storedBytes: 100,
        streamBytes: 4096,
        seconds: {},
      },
    });

  const settle = (run: string, request: Partial<SettleRequest> = {}) =>
    settleRun(deps, { run: runId(run), execution: executionOf(run), outcome: 'succeeded', ...request });

  /** One whole run; what it backed up. */
  const backUp = async (run: string, input: Parameters<typeof plan>[1] = {}): Promise<SampleBackup> => {
    const planned = await plan(run, input);
    await ask(run, planned);
    const backup = commit(planned.decoded);
    await record(run, backup);
    await settle(run);
    deps.executions.ended.add(executionOf(run));
    deps.clock.advance(60_000);
    return backup;
  };

  const lease = (): Promise<Lease | undefined> => deps.leases.get(SHOP);

  return { ...deps, deps, bucket, plannedRun, plan, ask, commit, commitOver, upload, record, settle, backUp, lease };
};

export type ControlPlaneUnderTest = Awaited<ReturnType<typeof controlPlaneUnderTest>>;

/** What the agent says of how it encrypted, and what it put into escrow. */
const encryptedAs = (instruction: Omit<BackupInstruction, 'taskToken'>): Pick<Manifest, 'stream' | 'keyring'> => {
  const { encryption, tablespaceEncryption } = instruction;
  const { stream, inventory } = sampleManifest(addressOf(instruction));
  return {
    stream: {
      ...stream,
      encryption: encryption.mode,
      ...(encryption.mode !== 'sealed' && { algorithm: encryption.algorithm }),
    },
    ...(tablespaceEncryption && {
      keyring: {
        kind: tablespaceEncryption.kind,
        object: inventory,
        fingerprint: 'b'.repeat(64),
        keyIds: [],
        transition: 'transition' in tablespaceEncryption ? tablespaceEncryption.transition : 'none',
      },
    }),
  };
};

export const addressOf = ({ cluster, chain, seq, backup }: BackupAddress): BackupAddress => ({
  cluster,
  chain,
  seq,
  backup,
});
