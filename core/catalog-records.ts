import { z } from 'zod';
import { parentSchema } from './agent-protocol.ts';
import { chainEncryptionSchema } from './chain-encryption.ts';
import { type ErrorCode, errorCodes } from './errors.ts';
import { backupIdSchema, chainIdSchema, clusterIdSchema, instanceIdSchema, runIdSchema } from './ids.ts';
import { lsnSchema } from './lsn.ts';
import { canarySchema, type Manifest, manifestObjects, sha256Schema } from './manifest.ts';
import { engineNameSchema } from './server-identity.ts';
import { chainKeysSchema, shreddingSchema, storedKeysSchema } from './wrapped-key.ts';

/** A chain in the catalog; its keys are also in every manifest. */
export const chainRecordSchema = z.object({
  cluster: clusterIdSchema,
  chain: chainIdSchema,
  createdAt: z.iso.datetime(),
  host: instanceIdSchema,
  /** Why a full was taken. */
  reason: z.string(),
  encryption: chainEncryptionSchema.prefault({}),
  keys: storedKeysSchema,
});
export type ChainRecord = Readonly<z.output<typeof chainRecordSchema>>;

/** A backup in the catalog: what plans and pictures need of its manifest. */
export const backupRecordSchema = z.object({
  cluster: clusterIdSchema,
  chain: chainIdSchema,
  backup: backupIdSchema,
  seq: z.number().int().nonnegative(),
  kind: z.enum(['full', 'incremental']),
  reason: z.string(),
  run: runIdSchema,
  host: instanceIdSchema,
  engine: engineNameSchema,
  manifestKey: z.string(),
  manifestSha256: sha256Schema,
  startedAt: z.iso.datetime(),
  endedAt: z.iso.datetime(),
  fromLsn: lsnSchema,
  toLsn: lsnSchema,
  lastLsn: lsnSchema,
  storedBytes: z.number().int().nonnegative(),
  streamBytes: z.number().int().nonnegative(),
  restoredBytes: z.number().int().nonnegative(),
  serverVersion: z.string(),
  engineVersion: z.string(),
  canary: canarySchema.optional(),
  /** Of a server with encrypted tablespaces: what tells the keyring of one backup from another's. */
  keyring: parentSchema.shape.keyring,
});
export type BackupRecord = Readonly<z.output<typeof backupRecordSchema>>;

/** The open end of the cluster's newest chain: what the next increment stands on, and what the policy measures. */
export const chainHeadSchema = z.object({
  chain: chainIdSchema,
  host: instanceIdSchema,
  engine: engineNameSchema,
  chainStartedAt: z.iso.datetime(),
  fullBytes: z.number().int().nonnegative(),
  incrementBytes: z.number().int().nonnegative(),
  lastIncrementStreamBytes: z.number().int().nonnegative(),
  fullStreamBytes: z.number().int().nonnegative(),
  encryption: chainEncryptionSchema.prefault({}),
  /** Nothing follows on a chain whose keys are gone. */
  shredded: shreddingSchema.optional(),
  tip: parentSchema,
});
export type ChainHead = Readonly<z.output<typeof chainHeadSchema>>;

export const runStates = ['planned', 'asked', 'succeeded', 'failed', 'aborted'] as const;

const runKindSchema = z.enum(['backup', 'restore']);

const errorCodeSchema = z.enum(errorCodes as readonly [ErrorCode, ...ErrorCode[]]);

/** One execution, from its plan to its end. */
export const plannedRunSchema = z.object({
  run: runIdSchema,
  cluster: clusterIdSchema,
  kind: runKindSchema,
  state: z.enum(runStates),
  execution: z.string(),
  startedAt: z.iso.datetime(),
  endedAt: z.iso.datetime().optional(),
  /** What was decided and why. */
  reason: z.string(),
  host: instanceIdSchema,
  chain: chainIdSchema,
  backup: backupIdSchema,
  seq: z.number().int().nonnegative(),
  attempt: z.number().int().positive(),
  /** Of the lease the run holds; a restore that touches no data directory of the cluster holds none. */
  fencingToken: z.number().int().positive().optional(),
  /** Set while the host is asked: lets a lost command fail the task, and an aborted execution cancel the command. */
  command: z.string().optional(),
  /** Of the data key, for the host's role, until the run is settled. */
  grants: z.array(z.object({ kmsKey: z.string(), grant: z.string() })).default([]),
  /**
   * What the host is given to open its chain, from the plan until the run is settled. It goes from here into the instruction: the
   * history of an execution, which nobody can erase, never holds a wrapped key or a grant token.
   */
  lent: z.object({ keys: chainKeysSchema, grantToken: z.string() }).nullish(),
  error: errorCodeSchema.optional(),
  detail: z.string().optional(),
  /** What the host answered, for people. */
  answer: z.unknown().optional(),
});
export type PlannedRun = Readonly<z.output<typeof plannedRunSchema>>;

/**
 * An execution that ended before anything was planned, kept for people. `refused`: another run was at work, which is nobody's
 * fault; whatever else it ended with has `failed`.
 */
export const unplannedRunSchema = z.object({
  run: runIdSchema,
  /** None where there is no such cluster: the detail has what was asked for. */
  cluster: clusterIdSchema.optional(),
  kind: runKindSchema,
  state: z.enum(['refused', 'failed', 'aborted']),
  execution: z.string(),
  startedAt: z.iso.datetime(),
  endedAt: z.iso.datetime(),
  error: errorCodeSchema,
  detail: z.string(),
  /** What tells the two apart. */
  chain: z.undefined().optional(),
});
export type UnplannedRun = Readonly<z.output<typeof unplannedRunSchema>>;

export const runRecordSchema = z.union([plannedRunSchema, unplannedRunSchema]);
export type RunRecord = PlannedRun | UnplannedRun;
export type RunState = RunRecord['state'];

export const isPlanned = (run: RunRecord): run is PlannedRun => run.chain !== undefined;

/** Who may write to a cluster. A released lease stays: its token must never come again. */
export const leaseSchema = z.object({
  cluster: clusterIdSchema,
  /** Only ever grows, by every acquisition. */
  token: z.number().int().positive(),
  run: runIdSchema,
  execution: z.string(),
  held: z.boolean(),
  acquiredAt: z.iso.datetime(),
  expiresAt: z.iso.datetime(),
});
export type Lease = Readonly<z.output<typeof leaseSchema>>;

/**
 * A command that Systems Manager was given. The task token belongs to the command and not to its run: a task that was retried
 * has another, and the end of an earlier command must not fail it.
 */
export const commandRecordSchema = z.object({
  command: z.string(),
  run: runIdSchema,
  taskToken: z.string(),
  sentAt: z.iso.datetime(),
});
export type CommandRecord = Readonly<z.output<typeof commandRecordSchema>>;

/** What the catalog keeps of a manifest found under `manifestKey` with digest `manifestSha256`. */
export const backupRecordOf = (manifest: Manifest, manifestKey: string, manifestSha256: string): BackupRecord => ({
  cluster: manifest.cluster,
  chain: manifest.chain,
  backup: manifest.backup,
  seq: manifest.seq,
  kind: manifest.kind,
  reason: manifest.reason,
  run: manifest.run,
  host: manifest.host,
  engine: manifest.engine.name,
  manifestKey,
  manifestSha256,
  startedAt: manifest.startedAt,
  endedAt: manifest.endedAt,
  fromLsn: manifest.checkpoints.fromLsn,
  toLsn: manifest.checkpoints.toLsn,
  lastLsn: manifest.checkpoints.lastLsn,
  storedBytes: manifestObjects(manifest).reduce((sum, object) => sum + object.bytes, 0),
  streamBytes: manifest.stream.bytes,
  restoredBytes: manifest.restoredBytes,
  serverVersion: manifest.server.version,
  engineVersion: manifest.engine.version,
  ...(manifest.canary && { canary: manifest.canary }),
  ...(manifest.keyring && { keyring: { fingerprint: manifest.keyring.fingerprint, keyIds: manifest.keyring.keyIds } }),
});
