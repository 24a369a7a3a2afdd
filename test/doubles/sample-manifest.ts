import { createHash } from 'node:crypto';
import type { ChainHead } from '#core/catalog-records.ts';
import { type ClusterConfig, clusterConfigSchema } from '#core/cluster-config.ts';
import { clusterIdSchema, instanceIdSchema, newBackupId, newChainId, runIdSchema } from '#core/ids.ts';
import { lsn } from '#core/lsn.ts';
import { encodeManifest, type Manifest, manifestDigestInput } from '#core/manifest.ts';
import { type BackupAddress, dataKeyOf, engineLogKey, inventoryKey, manifestKey } from '#core/object-keys.ts';
import { encryptionContext, type WrappedKey } from '#core/wrapped-key.ts';
import { DATA_KEY } from './fake-keys.ts';

export const sha256Of = (text: string): string => createHash('sha256').update(text).digest('hex');

export const SHOP = clusterIdSchema.parse('shop');
export const HOST = instanceIdSchema.parse('i-0123456789abcdef0');
export const ROLE = 'arn:aws:iam::111122223333:role/shop-database';

export const sampleCluster = (facts: object = {}): ClusterConfig =>
  clusterConfigSchema.parse({
    cluster: SHOP,
    engine: 'mariadb-backup',
    server: {
      socket: '/run/mysqld/mysqld.sock',
      dataDirectory: '/var/lib/mysql',
      optionFile: '/etc/redoubt/client.cnf',
    },
    hosts: [{ instance: HOST, role: ROLE }],
    ...facts,
  });

/** What the objects of a sample backup hold. */
export const sampleObjects = (at: BackupAddress): ReadonlyMap<string, string> =>
  new Map([
    [dataKeyOf(at, 0), `first segment of ${at.backup}`],
    [dataKeyOf(at, 1), `second segment of ${at.backup}`],
    [inventoryKey(at), `inventory of ${at.backup}`],
    [engineLogKey(at), `log of ${at.backup}`],
  ]);

const storedObject = (at: BackupAddress, key: string) => {
  const text = sampleObjects(at).get(key) ?? '';
  return { key, bytes: Buffer.byteLength(text), sha256: sha256Of(text) };
};

/** The data key of the chain at `at`, wrapped. */
export const sampleKey = (at: Pick<BackupAddress, 'cluster' | 'chain'>): WrappedKey => ({
  kmsKey: DATA_KEY,
  ciphertext: Buffer.from(`key of ${at.chain}`).toString('base64'),
  context: encryptionContext(at.cluster, at.chain, 'backup-data'),
});

export const FIRST_LSN = 1_634_712_345n;
const LSN_STEP = 1000n;

/** The manifest an agent would commit at `at`; an increment stands on `parent`. */
export const sampleManifest = (
  at: BackupAddress,
  facts: Partial<Manifest> & { readonly tip?: ChainHead['tip'] } = {},
): Manifest => {
  const { tip, ...given } = facts;
  const fromLsn = tip ? tip.toLsn : lsn(0n);
  const toLsn = lsn(FIRST_LSN + LSN_STEP * BigInt(at.seq));
  return {
    format: 'redoubt-manifest',
    version: 1,
    ...at,
    kind: at.seq === 0 ? 'full' : 'incremental',
    ...(tip && { parent: { backup: tip.backup, manifestSha256: tip.manifestSha256 } }),
    run: runIdSchema.parse('run-1'),
    fencingToken: 1,
    reason: 'the cluster has no chain yet',
    host: HOST,
    startedAt: '2026-11-22T05:12:12Z',
    endedAt: '2026-11-22T05:12:40Z',
    agentVersion: '0.1.0',
    engine: { name: 'mariadb-backup', version: '10.11.19', series: '10.11', uuid: 'b1c6-1' },
    server: {
      identity: {
        uuid: '5d1c0c7e-0000-4000-8000-000000000001',
        dataDirectory: '/var/lib/mysql',
        flavour: 'mariadb',
        series: '10.11',
        pageSize: 16384,
      },
      version: '10.11.19-MariaDB',
    },
    checkpoints: { type: at.seq === 0 ? 'full-backuped' : 'incremental', fromLsn, toLsn, lastLsn: toLsn },
    canary: { backup: at.backup, writtenAt: '2026-11-22T05:12:11Z' },
    keys: { data: sampleKey(at) },
    stream: {
      format: 'xbstream',
      compression: 'zstd',
      encryption: 'sealed',
      bytes: 4096,
      files: 3,
      segmentBytes: 2048,
    },
    segments: [storedObject(at, dataKeyOf(at, 0)), storedObject(at, dataKeyOf(at, 1))],
    inventory: storedObject(at, inventoryKey(at)),
    engineLog: storedObject(at, engineLogKey(at)),
    restoredBytes: 8192,
    mac: 'a'.repeat(64),
    ...given,
  };
};

/** The address of a backup of `SHOP`; `day` sets the chain apart. */
export const sampleAddress = (seq: number, day = 22): BackupAddress => {
  const at = new Date(`2026-11-${day}T05:12:10Z`);
  const chain = newChainId(at, '3f9a1c');
  const later = new Date(at.getTime() + seq * 60_000);
  return { cluster: SHOP, chain, seq, backup: newBackupId(later, chain, seq) };
};

export interface SampleBackup {
  readonly manifest: Manifest;
  readonly key: string;
  readonly sha256: string;
  readonly text: string;
}

export const sampleBackup = (at: BackupAddress, facts: Parameters<typeof sampleManifest>[1] = {}): SampleBackup => {
  const manifest = sampleManifest(at, facts);
  const text = encodeManifest(manifest);
  return { manifest, key: manifestKey(at), sha256: sha256Of(manifestDigestInput(text)), text };
};
