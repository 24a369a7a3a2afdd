import { z } from 'zod';
import { backupHistorySchema } from './backup-history.ts';
import {
  clusterConfigSchema,
  decryptAtSchema,
  encryptionSchema,
  limitsSchema,
  serverConfigSchema,
} from './cluster-config.ts';
import { engineOptionsSchema } from './engine-options.ts';
import { type ErrorCode, errorCodes } from './errors.ts';
import { backupIdSchema, chainIdSchema, clusterIdSchema, instanceIdSchema, runIdSchema } from './ids.ts';
import { lsnSchema } from './lsn.ts';
import { canarySchema, sha256Schema } from './manifest.ts';
import { serverIdentitySchema } from './server-identity.ts';
import { chainKeysSchema } from './wrapped-key.ts';

/** Agent and control plane must name the same version; another one is `AgentOutdated`. */
export const PROTOCOL_VERSION = 1;

const grantedKeysSchema = z.object({
  ...chainKeysSchema.shape,
  /** Lets the host use its grant before KMS has spread it. */
  grantToken: z.string().optional(),
});

const instructionBase = {
  protocol: z.literal(PROTOCOL_VERSION),
  run: runIdSchema,
  attempt: z.number().int().positive(),
  cluster: clusterIdSchema,
  host: instanceIdSchema,
  taskToken: z.string().min(1),
  /** The agent sends a heartbeat three times in this many seconds; a refused one ends it. */
  heartbeatSeconds: z.number().int().min(3),
};

/** The backup an increment stands on. */
export const parentSchema = z.object({
  backup: backupIdSchema,
  seq: z.number().int().nonnegative(),
  toLsn: lsnSchema,
  identity: serverIdentitySchema,
  manifestSha256: sha256Schema,
  canary: canarySchema.optional(),
  gtid: z.string().optional(),
  /** Of the parent's engine: a chain is taken by one series. */
  engineSeries: z.string(),
  /** What the parent's engine calls that backup. */
  engineUuid: z.string().optional(),
  /** The parent's keyring: the increment's must still hold these keys. */
  keyring: z.object({ fingerprint: sha256Schema, keyIds: z.array(z.string()).readonly() }).optional(),
});
export type Parent = Readonly<z.output<typeof parentSchema>>;

export const backupInstructionSchema = z.object({
  kind: z.literal('backup'),
  ...instructionBase,
  chain: chainIdSchema,
  backup: backupIdSchema,
  seq: z.number().int().nonnegative(),
  /** Absent for a full. */
  parent: parentSchema.optional(),
  reason: z.string(),
  fencingToken: z.number().int().positive(),
  engine: clusterConfigSchema.shape.engine,
  engineDirectory: clusterConfigSchema.shape.engineDirectory,
  server: serverConfigSchema,
  limits: limitsSchema,
  encryption: encryptionSchema,
  tablespaceEncryption: clusterConfigSchema.shape.tablespaceEncryption,
  history: backupHistorySchema.optional(),
  engineOptions: engineOptionsSchema.prefault({}),
  keys: grantedKeysSchema,
  /** The size of the last backup of this kind, for the estimate; 0 where there is none. */
  expectedBytes: z.number().int().nonnegative(),
});
export type BackupInstruction = Readonly<z.output<typeof backupInstructionSchema>>;

/** One backup to apply: the plan's order is the order of `seq`, base first. */
export const restoreStepSchema = z.object({
  manifestKey: z.string().min(1),
  manifestSha256: sha256Schema,
  backup: backupIdSchema,
  seq: z.number().int().nonnegative(),
  toLsn: lsnSchema,
  lastLsn: lsnSchema,
  bytes: z.number().int().nonnegative(),
  restoredBytes: z.number().int().nonnegative(),
});
export type RestoreStep = Readonly<z.output<typeof restoreStepSchema>>;

/** `prepare-only` leaves a ready directory; `replace` puts it in the place of the server's data directory. */
export const restoreModeSchema = z.enum(['prepare-only', 'replace']);
export type RestoreMode = z.infer<typeof restoreModeSchema>;

export const restoreInstructionSchema = z.object({
  kind: z.literal('restore'),
  ...instructionBase,
  chain: chainIdSchema,
  engine: clusterConfigSchema.shape.engine,
  engineDirectory: clusterConfigSchema.shape.engineDirectory,
  mode: restoreModeSchema,
  /** `prepare-only`: must be empty or absent. `replace`: the server's data directory. */
  directory: serverConfigSchema.shape.dataDirectory,
  server: serverConfigSchema,
  limits: limitsSchema,
  decryptAt: decryptAtSchema,
  /** Of the server that will run on the restored directory. */
  tablespaceEncryption: clusterConfigSchema.shape.tablespaceEncryption,
  keys: grantedKeysSchema,
  steps: z.array(restoreStepSchema).min(1).readonly(),
});
export type RestoreInstruction = Readonly<z.output<typeof restoreInstructionSchema>>;

/** Stored in the repository; the SSM command carries its key and SHA-256 only. */
export const instructionSchema = z.discriminatedUnion('kind', [backupInstructionSchema, restoreInstructionSchema]);
export type Instruction = z.output<typeof instructionSchema>;

export const phases = [
  'starting',
  'probing',
  'copying',
  'checking',
  'committing',
  'downloading',
  'preparing',
  'handing-over',
  'ended',
] as const;

/** Overwritten every few seconds under the run's progress key; for people, never for decisions. */
export const progressSchema = z.object({
  run: runIdSchema,
  cluster: clusterIdSchema,
  kind: z.enum(['backup', 'restore']),
  phase: z.enum(phases),
  /** Which step of a restore, from 1. */
  step: z.number().int().positive().optional(),
  steps: z.number().int().positive().optional(),
  bytes: z.number().int().nonnegative(),
  /** 0 where nothing is known to compare with. */
  expectedBytes: z.number().int().nonnegative(),
  files: z.number().int().nonnegative(),
  startedAt: z.iso.datetime(),
  at: z.iso.datetime(),
});
export type Progress = Readonly<z.infer<typeof progressSchema>>;

const secondsByPhaseSchema = z.partialRecord(z.enum(phases), z.number().nonnegative());

export const backupAnswerSchema = z.object({
  kind: z.literal('backup'),
  manifestKey: z.string().min(1),
  manifestSha256: sha256Schema,
  /** Stored bytes and bytes of the engine's stream. */
  storedBytes: z.number().int().nonnegative(),
  streamBytes: z.number().int().nonnegative(),
  seconds: secondsByPhaseSchema,
});

export const restoreAnswerSchema = z.object({
  kind: z.literal('restore'),
  backup: backupIdSchema,
  directory: z.string(),
  /** Where the old data directory was moved to, in mode `replace`. */
  movedAside: z.string().optional(),
  /** The restored server's version, where one was started. */
  serverVersion: z.string().optional(),
  restoredBytes: z.number().int().nonnegative(),
  seconds: secondsByPhaseSchema,
});

/** The output of `SendTaskSuccess`. */
export const answerSchema = z.discriminatedUnion('kind', [backupAnswerSchema, restoreAnswerSchema]);
export type Answer = z.output<typeof answerSchema>;
export type BackupAnswer = z.output<typeof backupAnswerSchema>;
export type RestoreAnswer = z.output<typeof restoreAnswerSchema>;

/** The cause of `SendTaskFailure`, as JSON; its error is the code. */
export const failureSchema = z.object({
  code: z.enum(errorCodes as readonly [ErrorCode, ...ErrorCode[]]),
  detail: z.string(),
  hint: z.string(),
});
export type Failure = Readonly<z.infer<typeof failureSchema>>;
