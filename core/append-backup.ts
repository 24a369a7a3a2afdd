import { type BackupRecord, backupRecordOf, type ChainHead, type ChainRecord } from './catalog-records.ts';
import { encryptionDifference, encryptionOfManifest } from './chain-encryption.ts';
import { checkpointsFault } from './checkpoints.ts';
import { lsn } from './lsn.ts';
import type { Manifest } from './manifest.ts';
import { identityDifference } from './server-identity.ts';

export type Append =
  | {
      readonly kind: 'append';
      readonly record: BackupRecord;
      readonly head: ChainHead;
      /** For a full: the chain it opens. */
      readonly opens?: ChainRecord;
    }
  /** It is already the tip: recording is idempotent. */
  | { readonly kind: 'recorded'; readonly record: BackupRecord }
  | { readonly kind: 'refuse'; readonly reason: string };

/**
 * Whether the manifest continues the cluster's line of descent, and the head after it. A full may follow anything: it opens
 * a chain. An increment follows its parent only: same chain, next place, `from_lsn` equal to the parent's `to_lsn`, the
 * parent's manifest by digest, and the same host, server and engine series.
 */
export const appendBackup = (
  head: ChainHead | undefined,
  manifest: Manifest,
  manifestKey: string,
  manifestSha256: string,
): Append => {
  const record = backupRecordOf(manifest, manifestKey, manifestSha256);
  if (head?.tip.backup === manifest.backup) {
    return head.tip.manifestSha256 === manifestSha256
      ? { kind: 'recorded', record }
      : { kind: 'refuse', reason: `another manifest of ${manifest.backup} is recorded` };
  }
  const tip = {
    backup: manifest.backup,
    seq: manifest.seq,
    toLsn: manifest.checkpoints.toLsn,
    identity: manifest.server.identity,
    manifestSha256,
    engineSeries: manifest.engine.series,
    ...(manifest.engine.uuid !== undefined && { engineUuid: manifest.engine.uuid }),
    ...(manifest.canary && { canary: manifest.canary }),
    ...(manifest.keyring && {
      keyring: { fingerprint: manifest.keyring.fingerprint, keyIds: manifest.keyring.keyIds },
    }),
    ...(manifest.binlog?.gtid !== undefined && { gtid: manifest.binlog.gtid }),
  };
  if (manifest.kind === 'full') {
    if (manifest.seq !== 0 || manifest.parent) return { kind: 'refuse', reason: 'a full has place 0 and no parent' };
    const fault = checkpointsFault(manifest.checkpoints, lsn(0n));
    if (fault) return { kind: 'refuse', reason: fault };
    if (head && manifest.chain <= head.chain)
      return { kind: 'refuse', reason: `chain ${manifest.chain} is not newer than ${head.chain}` };
    return {
      kind: 'append',
      record,
      head: {
        chain: manifest.chain,
        host: manifest.host,
        engine: manifest.engine.name,
        chainStartedAt: manifest.startedAt,
        fullBytes: record.storedBytes,
        fullStreamBytes: record.streamBytes,
        incrementBytes: 0,
        lastIncrementStreamBytes: 0,
        encryption: encryptionOfManifest(manifest),
        ...('shredded' in manifest.keys && { shredded: manifest.keys.shredded }),
        tip,
      },
      opens: {
        cluster: manifest.cluster,
        chain: manifest.chain,
        createdAt: manifest.startedAt,
        host: manifest.host,
        reason: manifest.reason,
        encryption: encryptionOfManifest(manifest),
        keys: manifest.keys,
      },
    };
  }
  if (!head || head.chain !== manifest.chain)
    return { kind: 'refuse', reason: `the open chain is ${head?.chain ?? 'none'}, not ${manifest.chain}` };
  // One that lost its keys as well was part of the chain before: a catalog that was lost gets it back.
  if (head.shredded && !('shredded' in manifest.keys))
    return { kind: 'refuse', reason: `the keys of chain ${head.chain} were shredded` };
  if (manifest.seq !== head.tip.seq + 1)
    return { kind: 'refuse', reason: `place ${manifest.seq} does not follow ${head.tip.seq}` };
  if (manifest.parent?.backup !== head.tip.backup || manifest.parent.manifestSha256 !== head.tip.manifestSha256)
    return {
      kind: 'refuse',
      reason: `its parent is ${manifest.parent?.backup ?? 'none'}, the tip is ${head.tip.backup}`,
    };
  if (manifest.checkpoints.fromLsn !== head.tip.toLsn)
    return {
      kind: 'refuse',
      reason: `from_lsn ${manifest.checkpoints.fromLsn} is not the to_lsn ${head.tip.toLsn} of ${head.tip.backup}`,
    };
  const fault = checkpointsFault(manifest.checkpoints, head.tip.toLsn);
  if (fault) return { kind: 'refuse', reason: fault };
  const difference = identityDifference(head.tip.identity, manifest.server.identity);
  if (difference) return { kind: 'refuse', reason: `another server than the chain's: ${difference}` };
  if (manifest.host !== head.host)
    return { kind: 'refuse', reason: `the chain was taken from ${head.host}, this backup from ${manifest.host}` };
  if (manifest.engine.name !== head.engine || manifest.engine.series !== head.tip.engineSeries)
    return {
      kind: 'refuse',
      reason: `the chain was taken with ${head.engine} ${head.tip.engineSeries}, this backup with ${manifest.engine.name} ${manifest.engine.series}`,
    };
  const other = encryptionDifference(head.encryption, encryptionOfManifest(manifest));
  if (other) return { kind: 'refuse', reason: `the chain was taken with ${other.was}, this backup with ${other.is}` };
  return {
    kind: 'append',
    record,
    head: {
      ...head,
      incrementBytes: head.incrementBytes + record.storedBytes,
      lastIncrementStreamBytes: record.streamBytes,
      tip,
    },
  };
};
