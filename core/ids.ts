import { z } from 'zod';

/** Name of a cluster, chosen by the operator: part of object keys, schedule names and execution names. */
export const clusterIdSchema = z
  .string()
  .regex(/^[a-z][a-z0-9-]{1,38}[a-z0-9]$/, 'a cluster name has 3 to 40 of a-z, 0-9 and -, starting with a letter')
  .brand<'ClusterId'>();
export type ClusterId = z.infer<typeof clusterIdSchema>;

/** `20261122T051210Z-3f9a1c`: when the chain's full was planned, and a random suffix. */
export const chainIdSchema = z
  .string()
  .regex(/^\d{8}T\d{6}Z-[0-9a-f]{6}$/, 'a chain id looks like 20261122T051210Z-3f9a1c')
  .brand<'ChainId'>();
export type ChainId = z.infer<typeof chainIdSchema>;

/** `20261122T061210Z-i0003-3f9a1c`: when, `f` or `i` with the place in the chain, the chain's suffix. */
export const backupIdSchema = z
  .string()
  .regex(/^\d{8}T\d{6}Z-(f0000|i\d{4,6})-[0-9a-f]{6}$/, 'a backup id looks like 20261122T061210Z-i0003-3f9a1c')
  .brand<'BackupId'>();
export type BackupId = z.infer<typeof backupIdSchema>;

/** The name of a Step Functions execution is the id of its run. */
export const runIdSchema = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,80}$/, 'a run id has 1 to 80 of A-Z, a-z, 0-9, _ and -')
  .brand<'RunId'>();
export type RunId = z.infer<typeof runIdSchema>;

/** An EC2 instance or an SSM hybrid-managed node. */
export const instanceIdSchema = z
  .string()
  .regex(/^(i|mi)-[0-9a-f]{8,17}$/, 'an instance id looks like i-0123456789abcdef0')
  .brand<'InstanceId'>();
export type InstanceId = z.infer<typeof instanceIdSchema>;

const compactTime = (at: Date): string =>
  at
    .toISOString()
    .replace(/\.\d{3}Z$/, 'Z')
    .replaceAll(/[-:]/g, '');

const SECOND = 1000;

/** When what has this id was planned, by the control plane's clock. */
export const plannedAt = (id: ChainId | BackupId): Date =>
  new Date(id.slice(0, 16).replace(/^(....)(..)(..T..)(..)(..Z)$/, '$1-$2-$3:$4:$5'));

/**
 * A new chain's id; `suffix` is six random hex digits. Chains are ordered by their ids, so the id is later than `newest` even
 * where both were planned in one second, or the clock went back.
 */
export const newChainId = (at: Date, suffix: string, newest?: ChainId): ChainId => {
  const earliest = newest ? plannedAt(newest).getTime() + SECOND : 0;
  return chainIdSchema.parse(`${compactTime(new Date(Math.max(at.getTime(), earliest)))}-${suffix}`);
};

/** The id of the backup at place `seq` of `chain`, planned at `at`. */
export const newBackupId = (at: Date, chain: ChainId, seq: number): BackupId => {
  const place = `${seq === 0 ? 'f' : 'i'}${String(seq).padStart(4, '0')}`;
  return backupIdSchema.parse(`${compactTime(at)}-${place}-${chain.slice(-6)}`);
};
