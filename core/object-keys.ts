import type { BackupId, ChainId, ClusterId, RunId } from './ids.ts';

/** The one owner of every key in the repository. */
const PLACE_DIGITS = 4;

const place = (seq: number): string => String(seq).padStart(PLACE_DIGITS, '0');

export const clusterPrefix = (cluster: ClusterId): string => `clusters/${cluster}/`;

export const chainsPrefix = (cluster: ClusterId): string => `${clusterPrefix(cluster)}chains/`;

export const chainPrefix = (cluster: ClusterId, chain: ChainId): string => `${chainsPrefix(cluster)}${chain}/`;

/** Every attempt at place `seq` of a chain lies under this prefix, whatever its backup id. */
export const placePrefix = (cluster: ClusterId, chain: ChainId, seq: number): string =>
  `${chainPrefix(cluster, chain)}${place(seq)}-`;

export interface BackupAddress {
  readonly cluster: ClusterId;
  readonly chain: ChainId;
  readonly seq: number;
  readonly backup: BackupId;
}

export const backupPrefix = (at: BackupAddress): string => `${placePrefix(at.cluster, at.chain, at.seq)}${at.backup}/`;

/** Written last: the commit point of a backup. */
export const manifestKey = (at: BackupAddress): string => `${backupPrefix(at)}manifest.json`;

/** Whether `key` is where a manifest lies. */
export const isManifestKey = (key: string): boolean => key.startsWith('clusters/') && key.endsWith('/manifest.json');

/** The `index`th segment of the sealed stream. */
export const dataKeyOf = (at: BackupAddress, index: number): string =>
  `${backupPrefix(at)}data.${String(index).padStart(5, '0')}`;

export const keyringKey = (at: BackupAddress): string => `${backupPrefix(at)}keyring.sealed`;

/** Sealed: it names every table. */
export const inventoryKey = (at: BackupAddress): string => `${backupPrefix(at)}meta/inventory.sealed`;

/** Sealed: the engine's log names tables and paths. */
export const engineLogKey = (at: BackupAddress): string => `${backupPrefix(at)}meta/engine-log.sealed`;

export interface RunAddress {
  readonly cluster: ClusterId;
  readonly run: RunId;
}

/** Below the cluster, because that is what a host's policy goes by: what one run was told is not for another cluster's hosts. */
export const runPrefix = ({ cluster, run }: RunAddress): string => `runs/${cluster}/${run}/`;

/** One instruction an attempt: a run that falls back to a full asks its host twice. */
export const instructionKey = (at: RunAddress, attempt: number): string =>
  `${runPrefix(at)}instruction-${attempt}.json`;

/** Whether `key` is where an instruction lies. */
export const isInstructionKey = (key: string): boolean => /^runs\/[^/]+\/[^/]+\/instruction-\d+\.json$/.test(key);

export const progressKey = (at: RunAddress): string => `${runPrefix(at)}progress.json`;
