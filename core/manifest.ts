import { z } from 'zod';
import { checkpointsSchema } from './checkpoints.ts';
import { encryptionSchema, keyAlgorithmSchema } from './cluster-config.ts';
import { backupIdSchema, chainIdSchema, clusterIdSchema, instanceIdSchema, runIdSchema } from './ids.ts';
import { engineNameSchema, serverIdentitySchema } from './server-identity.ts';
import { keyringKindSchema, transitionSchema } from './tablespace-encryption.ts';
import { type StoredKeys, storedKeysSchema } from './wrapped-key.ts';

export const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 in lower-case hex');

const timeSchema = z.iso.datetime();

/** One stored object of a backup. `bytes` and `sha256` are of the object as it lies in the bucket. */
export const storedObjectSchema = z.object({
  key: z.string().min(1),
  bytes: z.number().int().nonnegative(),
  sha256: sha256Schema,
  version: z.string().optional(),
});
export type StoredObject = Readonly<z.infer<typeof storedObjectSchema>>;

/** The row that proves descent: written just before the backup it is named after. */
export const canarySchema = z.object({ backup: backupIdSchema, writtenAt: timeSchema });
export type Canary = Readonly<z.infer<typeof canarySchema>>;

/** Where replication or point-in-time recovery goes on after a restore of this backup. */
export const binlogPositionSchema = z.object({
  file: z.string(),
  position: z.string().regex(/^\d+$/),
  gtid: z.string().optional(),
});
export type BinlogPosition = Readonly<z.infer<typeof binlogPositionSchema>>;

/**
 * The keyring of a server with encrypted tablespaces, as it was when the engine had ended. `fingerprint` tells two apart without
 * telling anything of either: HMAC-SHA256 of the content under a key derived (HKDF-SHA256, info `redoubt keyring`) from the
 * data key. `keyIds` are the names in it, where its format is known, or of the master keys in use, where it is in a service; `transition` says what a restore needs instead of it.
 */
export const escrowSchema = z.object({
  kind: keyringKindSchema,
  object: storedObjectSchema,
  fingerprint: sha256Schema,
  keyIds: z.array(z.string()).readonly(),
  transition: transitionSchema,
});
export type Escrow = Readonly<z.infer<typeof escrowSchema>>;

/**
 * The commit point of a backup: written last, once, and never changed but in `keys`: by a re-wrap, or when
 * they are shredded. The repository of
 * manifests is the truth; the catalog is an index over it.
 *
 * `mac` is HMAC-SHA256, in hex, over the canonical JSON of everything but `keys` and `mac`, with a key derived (HKDF-SHA256,
 * info `redoubt manifest`) from the chain's data key: who can write to the bucket still cannot write a manifest.
 */
export const manifestSchema = z.object({
  format: z.literal('redoubt-manifest'),
  version: z.literal(1),
  cluster: clusterIdSchema,
  chain: chainIdSchema,
  backup: backupIdSchema,
  seq: z.number().int().nonnegative(),
  kind: z.enum(['full', 'incremental']),
  parent: z.object({ backup: backupIdSchema, manifestSha256: sha256Schema }).optional(),
  run: runIdSchema,
  fencingToken: z.number().int().positive(),
  /** Why it is of its kind, as the plan decided. */
  reason: z.string(),
  host: instanceIdSchema,
  startedAt: timeSchema,
  endedAt: timeSchema,
  agentVersion: z.string(),
  engine: z.object({
    name: engineNameSchema,
    version: z.string(),
    series: z.string(),
    /** What the engine itself calls this backup (`uuid` of its info file), in the server's backup history too. */
    uuid: z.string().optional(),
  }),
  server: z.object({ identity: serverIdentitySchema, version: z.string() }),
  checkpoints: checkpointsSchema,
  binlog: binlogPositionSchema.optional(),
  canary: canarySchema.optional(),
  keys: storedKeysSchema,
  stream: z.object({
    format: z.literal('xbstream'),
    compression: z.literal('zstd'),
    encryption: encryptionSchema.shape.mode.unwrap(),
    /** Of the engine's own encryption, where it encrypted. */
    algorithm: keyAlgorithmSchema.optional(),
    /** Of the engine's stream before compression. */
    bytes: z.number().int().nonnegative(),
    files: z.number().int().nonnegative(),
    /** Bytes of the engine's stream in each segment but the last. */
    segmentBytes: z.number().int().positive(),
  }),
  /** The segments, in order; their concatenated plaintexts are one zstd stream. */
  segments: z.array(storedObjectSchema).min(1).readonly(),
  inventory: storedObjectSchema,
  keyring: escrowSchema.optional(),
  engineLog: storedObjectSchema,
  /** Bytes a restored data directory needs: the sum of the files' sizes as the inventory knows them, decrypted. */
  restoredBytes: z.number().int().nonnegative(),
  mac: z.string().regex(/^[0-9a-f]{64}$/),
});
export type Manifest = Readonly<z.output<typeof manifestSchema>>;

/** Everything a backup put into the bucket, the manifest itself excepted. */
export const manifestObjects = (manifest: Manifest): readonly StoredObject[] => [
  ...manifest.segments,
  manifest.inventory,
  manifest.engineLog,
  ...(manifest.keyring ? [manifest.keyring.object] : []),
];

/** The stored manifest with other keys. Nothing else changes, what this version does not know included. */
export const withKeys = (text: string, keys: StoredKeys): string => canonicalJson({ ...JSON.parse(text), keys });

/** JSON with sorted keys and no white space: the same manifest has one byte form. LSNs are decimal strings in it. */
export const canonicalJson = (value: unknown): string => {
  if (Array.isArray(value))
    return `[${value.map((item) => canonicalJson(item === undefined ? null : item)).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`);
    return `{${entries.join(',')}}`;
  }
  return JSON.stringify(value);
};

/** What is stored under the manifest's key. */
export const encodeManifest = (manifest: Manifest): string => canonicalJson(z.encode(manifestSchema, manifest));

/**
 * What `manifestSha256` is, everywhere, the SHA-256 of (its UTF-8): the canonical JSON of the stored manifest without `keys`, so that
 * a re-wrap changes no digest and no link to a parent. Fields that this version does not know count. A text that is no JSON object
 * stands for itself: it has a digest, and not that of any manifest.
 */
export const manifestDigestInput = (text: string): string => {
  let stored: unknown;
  try {
    stored = JSON.parse(text);
  } catch {
    return text;
  }
  if (typeof stored !== 'object' || stored === null || Array.isArray(stored)) return text;
  return canonicalJson({ ...stored, keys: undefined });
};

/** What `mac` is computed over. */
export const manifestMacInput = (manifest: Omit<Manifest, 'mac'>): string => {
  const { keys: _keys, mac: _mac, ...bound } = z.encode(manifestSchema, { ...manifest, mac: '0'.repeat(64) });
  return canonicalJson(bound);
};
