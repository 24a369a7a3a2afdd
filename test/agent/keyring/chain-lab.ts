import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BackupHost, runBackup } from '#agent/commands/backup.ts';
import { openBackupServer } from '#agent/commands/open-backup-server.ts';
import { runRestore } from '#agent/commands/restore.ts';
import type { RunContext } from '#agent/commands/run-context.ts';
import { engineOf } from '#agent/engines/engine.ts';
import {
  backupInstructionSchema,
  type RestoreAnswer,
  type RestoreInstruction,
  restoreInstructionSchema,
} from '#core/agent-protocol.ts';
import type { BackupHistory } from '#core/backup-history.ts';
import type { ServerConfig } from '#core/cluster-config.ts';
import type { EngineOptions } from '#core/engine-options.ts';
import { RedoubtError } from '#core/errors.ts';
import { chainIdSchema, clusterIdSchema, newBackupId } from '#core/ids.ts';
import { keyBytes } from '#core/key-shape.ts';
import { type Manifest, manifestSchema } from '#core/manifest.ts';
import type { EngineName } from '#core/server-identity.ts';
import type { TablespaceEncryption } from '#core/tablespace-encryption.ts';
import type { KeyPurpose } from '#core/wrapped-key.ts';
import { MemoryRepository } from '#test/doubles/memory-repository.ts';

const cluster = clusterIdSchema.parse('orders');
const MEBIBYTE = 1024 * 1024;

export interface ChainLabOptions {
  readonly engine: EngineName;
  readonly engineDirectory?: string;
  /** A short path for sockets and scratch files. */
  readonly directory?: string;
}

export interface TakenBackup {
  readonly manifest: Manifest;
  readonly key: string;
  readonly sha256: string;
}

export interface BackupChanges {
  readonly encryption?: object;
  readonly tablespaceEncryption?: TablespaceEncryption | undefined;
  readonly engineDirectory?: string;
  readonly engineOptions?: EngineOptions;
}

/** Chains of backups of one server, taken and restored by the agent's own commands over a repository in memory. */
export class ChainLab {
  readonly directory: string;
  readonly repository = new MemoryRepository();
  /** What KMS would open, by purpose; tests may put in their own. */
  readonly keys: Record<KeyPurpose, Buffer>;
  readonly log: string[] = [];
  taken: TakenBackup[] = [];
  tablespaceEncryption: TablespaceEncryption | undefined;
  encryption: { mode: 'sealed' | 'native' | 'native-and-sealed'; algorithm: 'AES128' | 'AES192' | 'AES256' } = {
    mode: 'sealed',
    algorithm: 'AES256',
  };
  server!: ServerConfig;
  history: BackupHistory | undefined;
  readonly #options: ChainLabOptions;
  #chain = 0;

  constructor(options: ChainLabOptions) {
    this.#options = options;
    this.directory = options.directory ?? mkdtempSync(join(tmpdir(), 'redoubt-keys-'));
    mkdirSync(join(this.directory, 'scratch'));
    writeFileSync(join(this.directory, 'client.cnf'), '[client]\nuser=root\n', { mode: 0o600 });
    this.keys = {
      'backup-data': randomBytes(32),
      'engine-key': randomBytes(keyBytes('AES256')),
      'transition-key': randomBytes(32),
    };
    this.newChain();
  }

  get optionFile(): string {
    return join(this.directory, 'client.cnf');
  }

  get chain() {
    return chainIdSchema.parse(`20261122T051210Z-${String(this.#chain).padStart(6, '0')}`);
  }

  /** The next backup is a full. */
  newChain(): void {
    this.#chain += 1;
    this.taken = [];
  }

  /** A full if it is the first of its chain, else an increment on the one before. */
  async backup(changes: BackupChanges = {}, host: Pick<BackupHost, 'firstPagesMs'> = {}): Promise<TakenBackup> {
    const seq = this.taken.length;
    const before = this.taken.at(-1);
    const backup = newBackupId(new Date(Date.UTC(2026, 10, 22, 6, seq)), this.chain, seq);
    const instruction = backupInstructionSchema.parse({
      kind: 'backup',
      ...this.#common(),
      backup,
      seq,
      reason: 'test',
      fencingToken: 1,
      ...(before === undefined ? {} : { parent: this.#parentOf(before) }),
      encryption: this.encryption,
      ...(this.tablespaceEncryption === undefined ? {} : { tablespaceEncryption: this.tablespaceEncryption }),
      ...(this.history === undefined ? {} : { history: this.history }),
      expectedBytes: 0,
      ...changes,
    });
    const answer = await runBackup(instruction, this.context(), {
      engine: engineOf(this.#options.engine),
      openServer: openBackupServer,
      confirm: async () => undefined,
      scratchParent: join(this.directory, 'scratch'),
      ...host,
    });
    if (answer.kind !== 'backup') throw new Error('no backup');
    const text = this.repository.objects.get(answer.manifestKey)?.toString('utf8') ?? '';
    const taken = {
      manifest: manifestSchema.parse(JSON.parse(text)),
      key: answer.manifestKey,
      sha256: answer.manifestSha256,
    };
    this.taken.push(taken);
    return taken;
  }

  instruction(changes: Partial<RestoreInstruction> & { readonly upTo?: number } = {}): RestoreInstruction {
    const { upTo = this.taken.length - 1, ...rest } = changes;
    const instruction = restoreInstructionSchema.parse({
      kind: 'restore',
      ...this.#common(),
      mode: 'prepare-only',
      directory: join(this.directory, 'restored'),
      ...(this.tablespaceEncryption === undefined ? {} : { tablespaceEncryption: this.tablespaceEncryption }),
      steps: this.taken.slice(0, upTo + 1).map(({ manifest, key, sha256 }) => ({
        manifestKey: key,
        manifestSha256: sha256,
        backup: manifest.backup,
        seq: manifest.seq,
        toLsn: manifest.checkpoints.toLsn.toString(),
        lastLsn: manifest.checkpoints.lastLsn.toString(),
        bytes: 1,
        restoredBytes: manifest.restoredBytes,
      })),
    });
    return { ...instruction, ...rest };
  }

  restore(changes: Partial<RestoreInstruction> & { readonly upTo?: number } = {}): Promise<RestoreAnswer> {
    return runRestore(this.instruction(changes), this.context()) as Promise<RestoreAnswer>;
  }

  context(changes: Partial<RunContext> = {}): RunContext {
    return {
      repository: this.repository,
      openKey: async (wrapped) => {
        const bytes = Buffer.from(this.keys[wrapped.context.purpose]);
        return { bytes, destroy: () => bytes.fill(0) };
      },
      signal: new AbortController().signal,
      progress: {
        phase: () => undefined,
        step: () => undefined,
        add: () => undefined,
        expect: () => undefined,
        seconds: () => ({}),
      },
      log: (line) => void this.log.push(line),
      now: () => new Date(),
      agentVersion: '0.0.0',
      ...changes,
    };
  }

  dispose(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  #parentOf({ manifest, sha256 }: TakenBackup): object {
    const { keyring } = manifest;
    return {
      backup: manifest.backup,
      seq: manifest.seq,
      toLsn: manifest.checkpoints.toLsn.toString(),
      identity: manifest.server.identity,
      manifestSha256: sha256,
      ...(manifest.canary === undefined ? {} : { canary: manifest.canary }),
      ...(manifest.binlog?.gtid === undefined ? {} : { gtid: manifest.binlog.gtid }),
      engineSeries: manifest.engine.series,
      ...(manifest.engine.uuid === undefined ? {} : { engineUuid: manifest.engine.uuid }),
      ...(keyring === undefined ? {} : { keyring: { fingerprint: keyring.fingerprint, keyIds: keyring.keyIds } }),
    };
  }

  #common() {
    const { engine, engineDirectory } = this.#options;
    const wrapped = (purpose: KeyPurpose) => ({
      kmsKey: 'arn:aws:kms:us-east-1:000000000000:key/1',
      ciphertext: 'd3JhcHBlZA==',
      context: { cluster, chain: this.chain, purpose },
    });
    return {
      protocol: 1,
      run: 'run-1',
      attempt: 1,
      cluster,
      host: 'i-0123456789abcdef0',
      taskToken: 'token',
      heartbeatSeconds: 60,
      chain: this.chain,
      engine,
      ...(engineDirectory === undefined ? {} : { engineDirectory }),
      server: this.server,
      limits: { compressionLevel: 1, prepareMemory: 64 * MEBIBYTE },
      keys: {
        data: wrapped('backup-data'),
        engine: wrapped('engine-key'),
        transition: wrapped('transition-key'),
      },
    };
  }
}

/** `Code: detail` of the error a promise ends with. */
export const failureOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error: unknown) => (error instanceof RedoubtError ? `${error.code}: ${error.detail}` : String(error)),
  );
