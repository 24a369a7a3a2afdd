import type { RestoreMode, RestoreStep } from './agent-protocol.ts';
import type { BackupRecord, ChainRecord } from './catalog-records.ts';
import type { ClusterConfig } from './cluster-config.ts';
import type { ErrorCode } from './errors.ts';
import type { ChainId, ClusterId } from './ids.ts';

/** What to restore to. `time` is ISO 8601: the newest backup that had ended by then. */
export type RestorePoint =
  | { readonly kind: 'latest' }
  | { readonly kind: 'backup'; readonly backup: string }
  | { readonly kind: 'time'; readonly time: string };

export type RestorePlan =
  | {
      readonly kind: 'restore';
      readonly chain: ChainId;
      readonly steps: readonly [RestoreStep, ...RestoreStep[]];
      readonly reason: string;
    }
  | { readonly kind: 'refuse'; readonly code: ErrorCode; readonly detail: string };

/** Newer later: chains by the time they were planned (the control plane's clock), backups of a chain by their place. */
const inOrder = (a: BackupRecord, b: BackupRecord): number =>
  a.chain === b.chain ? a.seq - b.seq : a.chain < b.chain ? -1 : 1;

const stepOf = (record: BackupRecord): RestoreStep => ({
  manifestKey: record.manifestKey,
  manifestSha256: record.manifestSha256,
  backup: record.backup,
  seq: record.seq,
  toLsn: record.toLsn,
  lastLsn: record.lastLsn,
  bytes: record.storedBytes,
  restoredBytes: record.restoredBytes,
});

/**
 * The backups to apply, base first, and why these. Refuses a chain with a gap: it never plans what could not be applied.
 * `backups` are all of the cluster's, in any order, and `chains` too. A backup whose keys were shredded is refused, and never
 * replaced by an older one that nobody asked for: the newest that can be restored instead is named.
 */
export const planRestore = (
  backups: readonly BackupRecord[],
  to: RestorePoint,
  chains: readonly Pick<ChainRecord, 'chain' | 'keys'>[] = [],
): RestorePlan => {
  const ordered = backups.toSorted(inOrder);
  let wanted: BackupRecord | undefined;
  let reason: string;
  switch (to.kind) {
    case 'latest':
      wanted = ordered.at(-1);
      reason = 'the latest backup';
      break;
    case 'time': {
      const limit = Date.parse(to.time);
      if (Number.isNaN(limit)) return { kind: 'refuse', code: 'InvalidInput', detail: `${to.time} is not a time` };
      wanted = ordered.findLast((record) => Date.parse(record.endedAt) <= limit);
      reason = `the newest backup that had ended by ${to.time}`;
      break;
    }
    case 'backup':
      wanted = ordered.find((record) => record.backup === to.backup);
      if (!wanted) return { kind: 'refuse', code: 'UnknownBackup', detail: `the cluster has no backup ${to.backup}` };
      reason = 'the backup asked for';
      break;
  }
  if (!wanted) return { kind: 'refuse', code: 'NoRestorableBackup', detail: `there is none for: ${reason}` };
  const { chain, seq } = wanted;
  const shredded = new Map(chains.flatMap(({ chain: of, keys }) => ('shredded' in keys ? [[of, keys.shredded]] : [])));
  const shredding = shredded.get(chain);
  if (shredding) {
    const instead = ordered.findLast((record) => !shredded.has(record.chain));
    const others = instead ? `the newest that can be restored is ${instead.backup}` : 'no other backup can be restored';
    return {
      kind: 'refuse',
      code: 'KeyShredded',
      detail: `${reason} is ${wanted.backup}, and the keys of its chain ${chain} were shredded at ${shredding.at} by ${shredding.by}; ${others}`,
    };
  }
  const line = ordered.filter((record) => record.chain === chain && record.seq <= seq);
  const gap = line.findIndex(
    (record, index) => record.seq !== index || (index > 0 && record.fromLsn !== line[index - 1]?.toLsn),
  );
  const [base, ...increments] = line.map(stepOf);
  if (!base || gap >= 0 || line.length !== seq + 1)
    return {
      kind: 'refuse',
      code: 'NoRestorableBackup',
      detail: `chain ${chain} has no unbroken line to ${wanted.backup}: place ${gap >= 0 ? gap : line.length} does not follow`,
    };
  return { kind: 'restore', chain, steps: [base, ...increments], reason: `${reason}, ${wanted.backup}` };
};

export interface RestoreTarget {
  readonly mode: RestoreMode;
  readonly directory?: string | undefined;
  readonly confirm?: string | undefined;
}

/** The names a path goes through: `/var//lib/./mysql/` is the same place as `/var/lib/mysql`. */
const namesOf = (path: string): readonly string[] => path.split('/').filter((name) => name !== '' && name !== '.');

/** Whether one of two absolute paths without `..` is the other or lies in it. */
const overlap = (one: string, other: string): boolean => {
  const [a, b] = [namesOf(one), namesOf(other)];
  return a.every((name, index) => index >= b.length || b[index] === name);
};

/** The directory a restore writes to, or why it must not. */
export const restoreDirectory = (
  config: ClusterConfig,
  cluster: ClusterId,
  target: RestoreTarget,
): { readonly directory: string } | { readonly code: ErrorCode; readonly detail: string } => {
  if (target.mode === 'replace') {
    if (target.confirm !== cluster)
      return {
        code: 'ConfirmationMissing',
        detail: `mode replace moves ${config.server.dataDirectory} aside; it needs the confirmation "${cluster}"`,
      };
    if (target.directory !== undefined && target.directory !== config.server.dataDirectory)
      return {
        code: 'InvalidInput',
        detail: `mode replace restores to the data directory ${config.server.dataDirectory}, not to ${target.directory}`,
      };
    return { directory: config.server.dataDirectory };
  }
  if (target.directory === undefined)
    return { code: 'InvalidInput', detail: 'mode prepare-only needs a directory to restore to' };
  if (overlap(target.directory, config.server.dataDirectory))
    return {
      code: 'InvalidInput',
      detail: `${target.directory} overlaps the data directory ${config.server.dataDirectory}; use mode replace for that`,
    };
  return { directory: target.directory };
};
