import {
  type BackupAnswer,
  type BackupInstruction,
  backupInstructionSchema,
  type RestoreAnswer,
  type RestoreInstruction,
  restoreInstructionSchema,
} from '#core/agent-protocol.ts';
import type { ClusterConfig } from '#core/cluster-config.ts';
import { asRedoubtError, type ErrorCode, errorKind, type RedoubtError } from '#core/errors.ts';
import { type BackupId, type RunId, runIdSchema } from '#core/ids.ts';
import { type Manifest, manifestSchema } from '#core/manifest.ts';
import { type BackupAddress, chainsPrefix, isManifestKey, manifestKey } from '#core/object-keys.ts';
import { tombstoneTime } from '#core/tombstone.ts';
import { planBackup } from '#functions/plan-backup/plan-backup.ts';
import { planRestore } from '#functions/plan-restore/plan-restore.ts';
import { recordBackup } from '#functions/record-backup/record-backup.ts';
import { settleRun } from '#functions/settle-run/settle-run.ts';
import { fakeClock } from '#test/doubles/fake-clock.ts';
import { fakeExecutions } from '#test/doubles/fake-executions.ts';
import { fakeHosts } from '#test/doubles/fake-hosts.ts';
import { fakeKeys } from '#test/doubles/fake-keys.ts';
import { fileBucket } from '#test/doubles/file-bucket.ts';
import type { FileRepository } from '#test/doubles/file-repository.ts';
import { type Catalog, inMemoryCatalog } from '#test/doubles/in-memory-catalog.ts';
import { recordedLog } from '#test/doubles/recorded-log.ts';
import { SHOP } from '#test/doubles/sample-manifest.ts';
import type { KilledAgent } from './run-agent.ts';

export type BackupEnd =
  | { readonly kind: 'taken'; readonly manifest: Manifest }
  | { readonly kind: 'failed'; readonly error: RedoubtError }
  | { readonly kind: 'killed'; readonly pid: number; readonly address: BackupAddress };

export type RestoreEnd =
  | { readonly kind: 'restored' }
  | { readonly kind: 'failed'; readonly error: RedoubtError }
  | { readonly kind: 'killed'; readonly pid: number };

const MINUTE = 60_000;

/** The control plane's own functions over a bucket in a directory, as their state machines call them; the agent is whoever is asked. */
export class RedoubtUnderTest {
  readonly repository: FileRepository;
  readonly clock = fakeClock();
  readonly keys = fakeKeys();
  config: ClusterConfig;
  readonly #executions = fakeExecutions();
  readonly #hosts = fakeHosts();
  readonly #log = recordedLog();
  #catalog: Catalog = inMemoryCatalog();
  #count = 0;

  private constructor(repository: FileRepository, config: ClusterConfig) {
    this.repository = repository;
    this.config = config;
  }

  static async create(repository: FileRepository, config: ClusterConfig): Promise<RedoubtUnderTest> {
    const redoubt = new RedoubtUnderTest(repository, config);
    await redoubt.configure(config);
    return redoubt;
  }

  async configure(config: ClusterConfig): Promise<void> {
    this.config = config;
    await this.#catalog.clusters.put(config);
  }

  /** What is left is the cluster file, which its operator applies again. */
  async loseCatalog(): Promise<void> {
    this.#catalog = inMemoryCatalog();
    await this.configure(this.config);
  }

  /** One execution, with its fall back to a full. Where it is not `settled`, it ends without its last step. */
  async backUp(
    kind: 'auto' | 'full' | 'incremental',
    ask: (instruction: BackupInstruction) => Promise<BackupAnswer | KilledAgent>,
    settled = true,
  ): Promise<BackupEnd> {
    const { run, execution } = this.#begin();
    const end = async (error?: { readonly code: ErrorCode; readonly detail: string }): Promise<void> => {
      if (settled) await settleRun(this.#deps, { run, execution, ...outcomeOf(error) });
      this.#executions.ended.add(execution);
    };
    let refusal: RedoubtError | undefined;
    for (const attempt of [1, 2]) {
      const planned = await planBackup(this.#deps, {
        cluster: SHOP,
        kind,
        run,
        execution,
        attempt,
        ...(refusal && { refusal: { code: refusal.code, detail: refusal.detail } }),
      });
      const instruction = backupInstructionSchema.parse({ ...planned.instruction, ...(await this.#lent(run)) });
      try {
        const answer = await ask(instruction);
        if ('pid' in answer) {
          await end({ code: 'AgentDied', detail: 'killed' });
          return { kind: 'killed', pid: answer.pid, address: instruction };
        }
        await recordBackup(this.#deps, { run, answer });
        await settleRun(this.#deps, { run, execution, outcome: 'succeeded', answer });
        this.#executions.ended.add(execution);
        return { kind: 'taken', manifest: this.manifestAt(instruction) };
      } catch (thrown) {
        const error = asRedoubtError(thrown);
        if (errorKind(error.code).fallsBack && attempt === 1) refusal = error;
        else {
          await end(error);
          return { kind: 'failed', error };
        }
      }
    }
    throw new Error('unreachable');
  }

  /** One execution that leaves a prepared directory. */
  async restore(
    backup: BackupId,
    directory: string,
    ask: (instruction: RestoreInstruction) => Promise<RestoreAnswer | KilledAgent>,
  ): Promise<RestoreEnd> {
    const { run, execution } = this.#begin();
    const planned = await planRestore(this.#deps, {
      cluster: SHOP,
      run,
      execution,
      to: { kind: 'backup', backup },
      target: { mode: 'prepare-only', directory },
      approval: false,
      preview: false,
    });
    const instruction = restoreInstructionSchema.parse({ ...planned.instruction, ...(await this.#lent(run)) });
    const ended = await ask(instruction).then(
      (answer): RestoreEnd => ('pid' in answer ? { kind: 'killed', pid: answer.pid } : { kind: 'restored' }),
      (thrown): RestoreEnd => ({ kind: 'failed', error: asRedoubtError(thrown) }),
    );
    await settleRun(this.#deps, {
      run,
      execution,
      ...outcomeOf(
        ended.kind === 'failed'
          ? ended.error
          : ended.kind === 'killed'
            ? { code: 'AgentDied', detail: 'killed' }
            : undefined,
      ),
    });
    this.#executions.ended.add(execution);
    return ended;
  }

  manifestAt(at: BackupAddress): Manifest {
    return manifestSchema.parse(JSON.parse(this.repository.body(manifestKey(at))?.toString('utf8') ?? ''));
  }

  isCommitted(at: BackupAddress): boolean {
    return this.manifestKeys().includes(manifestKey(at));
  }

  /** Everything in the repository that belongs to a backup or to half of one: a tombstone says that there is none. */
  objectKeys(): readonly string[] {
    return this.repository.keys().filter((key) => key.startsWith(chainsPrefix(SHOP)) && !this.#isTombstone(key));
  }

  #isTombstone(key: string): boolean {
    return isManifestKey(key) && tombstoneTime(this.repository.body(key)?.toString('utf8') ?? '') !== undefined;
  }

  manifestKeys(): readonly string[] {
    return this.objectKeys().filter(isManifestKey);
  }

  async recorded(): Promise<readonly string[]> {
    return (await this.#catalog.chains.all(SHOP)).backups.map(({ manifestKey: key }) => key).sort();
  }

  async leaseHeld(): Promise<boolean> {
    return (await this.#catalog.leases.get(SHOP))?.held ?? false;
  }

  get #deps() {
    return {
      ...this.#catalog,
      repository: fileBucket(this.repository),
      keys: this.keys,
      executions: this.#executions,
      hosts: this.#hosts,
      commands: this.#hosts,
      clock: this.clock,
      random: { hex: (bytes: number) => this.#count.toString(16).padStart(bytes * 2, '0') },
      log: this.#log,
      heartbeatSeconds: 60,
      otherKeys: [],
      backupStateMachine: 'arn:aws:states:us-east-1:111122223333:stateMachine:redoubt',
    };
  }

  #begin(): { readonly run: RunId; readonly execution: string } {
    this.#count += 1;
    this.clock.advance(MINUTE);
    const run = runIdSchema.parse(`run-${this.#count}`);
    return { run, execution: `arn:aws:states:us-east-1:111122223333:execution:redoubt:${run}` };
  }

  async #lent(run: RunId): Promise<object> {
    const asked = await this.#catalog.runs.transition(run, 'ask');
    const lent = asked.kind === 'done' ? asked.run.lent : undefined;
    if (!lent) throw new Error(`${run} was lent no keys`);
    return { taskToken: 'token', keys: { ...lent.keys, grantToken: lent.grantToken } };
  }
}

const outcomeOf = (error: { readonly code: ErrorCode; readonly detail: string } | undefined) =>
  error === undefined
    ? ({ outcome: 'succeeded' } as const)
    : ({ outcome: 'failed', error: error.code, cause: error.detail } as const);
