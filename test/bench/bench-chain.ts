import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { backupInstructionSchema, restoreInstructionSchema } from '#core/agent-protocol.ts';
import { clusterIdSchema, newBackupId, newChainId } from '#core/ids.ts';
import { lsnSchema } from '#core/lsn.ts';
import { type Manifest, manifestDigestInput, manifestSchema } from '#core/manifest.ts';
import { manifestKey } from '#core/object-keys.ts';
import { encryptionContext } from '#core/wrapped-key.ts';
import type { AgentResult, AgentTask, Sink } from './agent-task.ts';
import type { BenchServer } from './bench-server.ts';

const cluster = clusterIdSchema.parse('bench');
const HOST = 'i-0123456789abcdef0';
/** Copy threads of the engine and memory of its prepare, for both sides of every comparison. */
export const PARALLEL = 2;
export const PREPARE_MEMORY = 512 * 1024 * 1024;

/** One chain of backups of the bench's server, as the control plane would plan them. */
export class BenchChain {
  readonly #server: BenchServer;
  readonly #dataKey = randomBytes(32).toString('hex');
  readonly #id = newChainId(new Date(), randomBytes(3).toString('hex'));
  readonly #taken: { readonly manifest: Manifest; readonly sha256: string }[] = [];

  constructor(server: BenchServer) {
    this.#server = server;
  }

  /** The next backup: a full, then increments on what `took` was told of. */
  backup(to: Sink): AgentTask {
    const seq = this.#taken.length;
    const parent = this.#taken.at(-1);
    const instruction: z.input<typeof backupInstructionSchema> = {
      kind: 'backup',
      ...this.#base('backup'),
      backup: newBackupId(new Date(), this.#id, seq),
      seq,
      ...(parent === undefined ? {} : { parent: this.#parent(parent) }),
      encryption: {},
      reason: 'bench',
      fencingToken: 1,
      expectedBytes: 0,
    };
    return { kind: 'backup', instruction, dataKey: this.#dataKey, to };
  }

  took({ manifest: text = '' }: AgentResult): void {
    const manifest = manifestSchema.parse(JSON.parse(text));
    this.#taken.push({ manifest, sha256: createHash('sha256').update(manifestDigestInput(text)).digest('hex') });
  }

  /** Everything taken so far, into `directory`, which must not exist. */
  restore(directory: string): AgentTask {
    const instruction: z.input<typeof restoreInstructionSchema> = {
      kind: 'restore',
      ...this.#base('restore'),
      mode: 'prepare-only',
      directory,
      steps: this.#taken.map(({ manifest, sha256 }) => ({
        manifestKey: manifestKey(manifest),
        manifestSha256: sha256,
        backup: manifest.backup,
        seq: manifest.seq,
        toLsn: z.encode(lsnSchema, manifest.checkpoints.toLsn),
        lastLsn: z.encode(lsnSchema, manifest.checkpoints.lastLsn),
        bytes: manifest.segments.reduce((sum, segment) => sum + segment.bytes, 0),
        restoredBytes: manifest.restoredBytes,
      })),
    };
    return { kind: 'restore', instruction, dataKey: this.#dataKey, to: 'bucket' };
  }

  #parent({ manifest, sha256 }: { readonly manifest: Manifest; readonly sha256: string }) {
    const { backup, seq, checkpoints, server, canary, engine } = manifest;
    return {
      backup,
      seq,
      toLsn: z.encode(lsnSchema, checkpoints.toLsn),
      identity: server.identity,
      manifestSha256: sha256,
      canary,
      engineSeries: engine.series,
    };
  }

  #base(run: string) {
    const { server, optionFile } = this.#server;
    return {
      protocol: 1,
      run,
      attempt: 1,
      cluster,
      chain: this.#id,
      host: HOST,
      taskToken: 'nobody waits',
      heartbeatSeconds: 60,
      engine: 'mariadb-backup',
      server: { socket: server.socket, dataDirectory: server.dataDirectory, optionFile, owner: 'root' },
      limits: { parallel: PARALLEL, prepareMemory: PREPARE_MEMORY },
      keys: {
        data: {
          kmsKey: 'arn:aws:kms:us-east-1:000000000000:key/bench',
          ciphertext: 'AAAA',
          context: encryptionContext(cluster, this.#id, 'backup-data'),
        },
      },
    } as const satisfies Partial<z.input<typeof backupInstructionSchema>>;
  }
}
