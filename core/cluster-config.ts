import { z } from 'zod';
import { absolutePathSchema } from './absolute-path.ts';
import { historySchema } from './backup-history.ts';
import { engineOptionsSchema } from './engine-options.ts';
import { clusterIdSchema, instanceIdSchema } from './ids.ts';
import { engineNameSchema } from './server-identity.ts';
import { tablespaceEncryptionSchema } from './tablespace-encryption.ts';

const argv = z.array(z.string().min(1)).min(1).readonly();

/** How the agent stops and starts the server in a restore that replaces its data directory. */
export const serverControlSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('systemd'), unit: z.string().regex(/^[A-Za-z0-9@._-]+$/) }),
  z.strictObject({ kind: z.literal('command'), start: argv, stop: argv }),
]);
export type ServerControl = z.infer<typeof serverControlSchema>;

/** The server on its host: everything the agent needs to reach it, and no secret. */
export const serverConfigSchema = z.strictObject({
  /** Absolute path of the socket; a TCP address is not offered: the agent runs on the server's own host. */
  socket: absolutePathSchema,
  /** Checked against the server that answers at the socket: no other directory is ever backed up. */
  dataDirectory: absolutePathSchema,
  /** Option file on the host with `[client]` user and password, readable by root only. */
  optionFile: absolutePathSchema,
  /** The operating system user that owns a restored data directory. */
  owner: z
    .string()
    .regex(/^[a-z_][a-z0-9_-]*$/)
    .default('mysql'),
  control: serverControlSchema.default({ kind: 'systemd', unit: 'mariadb' }),
});
export type ServerConfig = z.infer<typeof serverConfigSchema>;

export const hostConfigSchema = z.strictObject({
  instance: instanceIdSchema,
  /** The role of the instance profile: it alone gets a grant on the data key, for one run at a time. */
  role: z.string().regex(/^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]+$/, 'the ARN of an IAM role'),
  agentDirectory: absolutePathSchema.default('/opt/redoubt'),
});
export type HostConfig = z.infer<typeof hostConfigSchema>;

/** A restore plan, with a step for each increment, must fit into a Step Functions payload (256 KiB). */
export const LONGEST_CHAIN = 500;

/** When to take a backup, when a full instead of an increment, and when to tell somebody that none was taken. */
export const policySchema = z.strictObject({
  /** EventBridge Scheduler expression: `rate(6 hours)`, `cron(0 3 * * ? *)`; none means only on demand. */
  schedule: z
    .string()
    .regex(/^(rate\(\d+ (minutes?|hours?|days?)\)|cron\([^()]+\)|at\([0-9T:-]+\))$/, 'rate(…), cron(…) or at(…)')
    .optional(),
  timezone: z.string().default('UTC'),
  /** A chain older than this gets no further increment. */
  fullEveryDays: z.number().positive().max(366).default(7),
  /** Every increment makes a restore slower. */
  maxIncrements: z.number().int().min(0).max(LONGEST_CHAIN).default(28),
  /** A full is taken once the increments together are larger than the full times this. */
  maxIncrementsRatio: z.number().positive().max(100).default(1),
  /** Somebody is told after so many hours without a backup; by default after two intervals of the schedule and an hour. */
  alertAfterHours: z.number().positive().max(10_000).optional(),
});
export type Policy = z.infer<typeof policySchema>;

/** What a backup may take from the host. */
export const limitsSchema = z.strictObject({
  /** Copy threads of the engine. */
  parallel: z.number().int().min(1).max(64).default(2),
  /** zstd level. Pages of InnoDB become no smaller by 3, which takes twice the time of 1; text does by a few percent. */
  compressionLevel: z.number().int().min(1).max(19).default(1),
  /** Blocks compressed at the same time. */
  compressionThreads: z.number().int().min(1).max(64).default(2),
  /** Bytes a second to the repository; none means as fast as it goes. */
  uploadBytesPerSecond: z.number().int().positive().optional(),
  /** The engine's `--throttle`: read and write pairs a second. */
  engineThrottle: z.number().int().positive().optional(),
  /** Memory the engine may use to prepare, in bytes. */
  prepareMemory: z
    .number()
    .int()
    .min(64 * 1024 * 1024)
    .default(512 * 1024 * 1024),
});
export type Limits = z.infer<typeof limitsSchema>;

export const keyAlgorithmSchema = z.enum(['AES128', 'AES192', 'AES256']);

/**
 * When a restore decrypts what the engine encrypted: `stream`, by the agent while it extracts, or `directory`, by the engine itself
 * (`xtrabackup --decrypt`) once all is extracted, which takes the space of the encrypted files besides.
 */
export const decryptAtSchema = z.enum(['stream', 'directory']).default('stream');
export type DecryptAt = z.infer<typeof decryptAtSchema>;

/**
 * How the bytes are encrypted before they leave the host. `sealed`: by the agent, authenticated. `native`: by the engine
 * (`--encrypt`), so that stock `xbstream` and `xtrabackup` alone read them; not authenticated, hence the digests.
 */
export const encryptionSchema = z.strictObject({
  mode: z.enum(['sealed', 'native', 'native-and-sealed']).default('sealed'),
  /** Of the engine's own encryption. */
  algorithm: keyAlgorithmSchema.default('AES256'),
  decryptAt: decryptAtSchema,
});
export type Encryption = z.infer<typeof encryptionSchema>;

/** One cluster as its operator wrote it. Unknown keys are errors: a misspelt policy must not be a silent default. */
export const clusterConfigSchema = z.strictObject({
  cluster: clusterIdSchema,
  engine: engineNameSchema,
  /** Where the engine's programs lie, if not on the PATH. */
  engineDirectory: absolutePathSchema.optional(),
  server: serverConfigSchema,
  /** The first one is backed up; an increment always goes to the host its chain was taken from. */
  hosts: z
    .array(hostConfigSchema)
    .min(1)
    .refine(
      (hosts) => new Set(hosts.map((host) => host.instance)).size === hosts.length,
      'an instance stands there twice',
    )
    .readonly(),
  encryption: encryptionSchema.prefault({}),
  /** Needed where the server has encrypted tablespaces. */
  tablespaceEncryption: tablespaceEncryptionSchema.optional(),
  history: historySchema.optional(),
  engineOptions: engineOptionsSchema.prefault({}),
  policy: policySchema.prefault({}),
  limits: limitsSchema.prefault({}),
});
export type ClusterConfig = Readonly<z.infer<typeof clusterConfigSchema>>;
